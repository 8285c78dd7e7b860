//! The model requests and their cost: a reply that was received is not paid for again, and the ledger is
//! never below what the model billed.

use std::collections::HashMap;

use devstack::claude::Bill;
use jiff::{ToSpan, tz::TimeZone};
use mana_persona_runner::{
    domain::{Tokens, Usd},
    journal::Journal,
    pricing::Pricing,
};

use super::{Findings, Run};
use crate::{Problem, rounds::Counts, world::World};

pub(super) async fn check(
    world: &World,
    journal: &Journal,
    runs: &[Run],
    (counts, most_lost): (&Counts, usize),
    findings: &mut Findings,
) -> Result<(), Problem> {
    let bills = world.peers.claude.bills();
    let recorded: usize = runs.iter().map(|run| run.requests.replied.len()).sum();
    let lost: usize = runs.iter().map(|run| run.requests.lost.len()).sum();
    let extra = bills.len().saturating_sub(recorded);
    findings.expect(recorded <= bills.len(), || {
        format!("{recorded} replies are recorded, {} requests were served", bills.len())
    });
    findings.expect(extra <= lost, || {
        format!("{extra} requests beyond the recorded replies, only {lost} known to be lost")
    });
    findings.expect(lost <= most_lost, || {
        format!("{lost} answers lost, more than {most_lost} can have been under way at the kills")
    });
    findings.figure(format!(
        "model requests: {} served, {recorded} replies recorded once each, {extra} extra, {lost} lost by \
         the journal (bound: {most_lost}); {} of {} kills hit new requests under way, {} in all",
        bills.len(),
        counts.kills_while_asking,
        counts.kills,
        counts.asking_at_kills.len(),
    ));
    repeated(world, lost, findings);
    ledger(journal, runs, &bills, findings).await
}

/// Checks that a request is sent again only if its answer was lost, and then with the same bytes. A request
/// is identified by the last call in its history, because call ids are unique.
fn repeated(world: &World, lost: usize, findings: &mut Findings) {
    let mut made: HashMap<(String, usize, bool), Vec<String>> = HashMap::new();
    for request in world.peers.claude.requests() {
        let calls = request.tool_calls();
        let Some((id, ..)) = calls.last() else { continue };
        let which = ((*id).to_owned(), request.turn(), request.is_rating());
        made.entry(which).or_default().push(request.raw);
    }
    let mut repeated = 0;
    for ((id, ..), bodies) in &made {
        repeated += bodies.len() - 1;
        findings.expect(bodies.len() <= 2, || {
            format!("the request after {id} was made {} times", bodies.len())
        });
        findings.expect(bodies.iter().all(|body| *body == bodies[0]), || {
            format!("the request after {id} was made again with other bytes")
        });
    }
    findings.expect(repeated <= lost, || {
        format!("{repeated} requests were made again, {lost} answers were lost")
    });
    findings.figure(format!(
        "  {repeated} of them in the middle of a run, made again with the same bytes"
    ));
}

async fn ledger(
    journal: &Journal,
    runs: &[Run],
    bills: &[Bill],
    findings: &mut Findings,
) -> Result<(), Problem> {
    let model = bills.first().map(|bill| bill.model.as_str()).unwrap_or_default();
    let pricing = Pricing::load(None, model)?;
    let served: Usd = bills.iter().map(|bill| pricing.cost(&tokens(bill)).total()).sum();
    let recorded = runs.iter().flat_map(|run| &run.requests.replied).map(|(tokens, cost)| {
        findings
            .expect(pricing.cost(tokens).total() == *cost, || format!("{tokens:?} cost {cost}"));
        *cost
    });
    let recorded: Usd = recorded.sum();
    let reserved: Usd = runs.iter().flat_map(|run| &run.requests.lost).copied().sum();
    for run in runs {
        let own: Usd = run.requests.replied.iter().map(|(_, cost)| *cost).sum();
        let own = own + run.requests.lost.iter().copied().sum();
        findings.expect(own == run.row.spent, || {
            format!("run {} has spent {own} by its steps, {} by its row", run.row.id, run.row.spent)
        });
    }
    let spent: Usd = runs.iter().map(|run| run.row.spent).sum();
    let fleet = fleet(journal, runs).await?;
    findings.expect(fleet == spent, || format!("the ledger says {fleet}, the runs say {spent}"));
    findings.expect(fleet >= served, || format!("the ledger says {fleet}, {served} was served"));
    findings.expect(fleet <= served + reserved, || {
        format!(
            "the ledger says {fleet}; {served} was served and {reserved} reserved for lost answers"
        )
    });
    findings.figure(format!(
        "money: {served} served, {fleet} in the ledger = {recorded} for replies + {reserved} reserved for \
         lost answers"
    ));
    Ok(())
}

/// The fleet's spending in every month in which a run started or was updated.
async fn fleet(journal: &Journal, runs: &[Run]) -> Result<Usd, Problem> {
    let (Some(first), Some(last)) = (runs.first(), runs.iter().map(|run| run.row.updated_at).max())
    else {
        return Ok(Usd::ZERO);
    };
    // The dates are compared at midnight: with the time of day, a late start in one month could be after an
    // early end in a later month and that month would be skipped.
    let month =
        |time: jiff::Timestamp| time.to_zoned(TimeZone::UTC).first_of_month()?.start_of_day();
    // A stepped clock may have shown another month one hour earlier or later.
    let (mut now, end) = (month(first.row.started_at - 1.hour())?, month(last + 1.hour())?);
    let mut total = Usd::ZERO;
    while now <= end {
        total += journal.fleet_spending(now.timestamp()).await?.1;
        now = now.checked_add(1.month())?;
    }
    Ok(total)
}

fn tokens(bill: &Bill) -> Tokens {
    Tokens {
        input: bill.input.uncached,
        output: bill.output,
        cache_read: bill.input.read,
        cache_write_5m: bill.input.written - bill.written_for_an_hour,
        cache_write_1h: bill.written_for_an_hour,
    }
}
