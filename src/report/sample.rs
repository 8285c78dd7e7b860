//! Reports for tests.

use std::sync::Arc;

use jiff::{SignedDuration, civil::date};

use crate::{
    domain::{Cause, Label, WhyNotRun},
    facts::{
        compare::Confounder,
        coverage::{Coverage, DayStatus, NotTested, PersonaDays, Subject, WhyNotTested},
        detect::{Missing, Slow},
        frictions::{Friction, Quote},
        line::{Catalog, CatalogTool, Line},
        report::{ModuleReport, NotRun, Outage, Report, Resolved, Unfinished, Unrated, report},
        state::State,
        window::Days,
        world::{World, failed, failed_by, ok},
    },
};

/// What a peer may write anywhere.
pub(super) const HOSTILE: &str = "</style><script>alert(1)</script> | a ` b @team #1 https://evil.example www.evil.example ![x](y) *b* \
     \u{202e}rtl\0\n# heading\n- item\r\n";

/// The days from Monday to Sunday of 2026-W02.
pub(super) const WEEK: Days = Days::Between(date(2026, 1, 5), date(2026, 1, 11));

/// Six personas live for eleven days, seven of which are the week. From Wednesday on, with the second deployment,
/// `todo.complete` fails for three of them. `notes.search` failed until Monday.
pub(super) fn world() -> World {
    let mut world = World::default();
    world.deploy("D-1", "1.4.0", 1);
    world.deploy("D-2", "1.5.0", 7);
    let tools = ["todo.complete", "todo.list", "notes.search", "calendar.list"];
    world.others.push(Line::Catalog(Catalog {
        id: "tools".into(),
        tools: tools.map(|name| CatalogTool { name: name.into(), hash: "1".into() }).into(),
        hidden: vec!["wardrobe.tryOn".into()],
    }));
    for day in 1..=11 {
        for persona in ["a", "b", "c", "d", "e", "f"] {
            let breaks = day >= 7 && persona < "d";
            let complete = match breaks {
                true => failed("todo.complete", "F-BBBB"),
                false => ok("todo.complete"),
            };
            let search = match day <= 5 && persona > "c" {
                true => failed("notes.search", "F-CCCC"),
                false => ok("notes.search"),
            };
            let expected = failed_by(Cause::Invented, "todo.archive", "F-DDDD");
            let run = world.run(persona, day, [ok("todo.list"), complete, search, expected]);
            run.deployment = Some(if day < 7 { "D-1" } else { "D-2" }.to_owned());
            run.catalog = Some("tools".to_owned());
            run.cost_usd = 0.25;
            let notes = format!("{persona} on day {day}: done is not done.");
            world.rate("todo", if breaks { 2 } else { 4 }, &notes, &[2]);
            world.rate("notes", 4, "Nothing found.", &[]);
        }
    }
    world
}

/// The report of the week.
pub(super) fn week() -> Report {
    report(&world().days(WEEK))
}

/// A report with very much of everything, all of it hostile.
pub(super) fn hostile() -> Report {
    let mut report = week();
    let text = || HOSTILE.repeat(20);
    let name = |n: usize| format!("{n}{}", text());
    let names = |count| (0..count).map(name).collect::<Vec<_>>();
    let friction = report.frictions[0].clone();
    let module = report.modules.iter().find(|it| it.rating.is_some()).unwrap().clone();
    let quote = || {
        let quote = friction.quote.clone().unwrap();
        Some(Quote { persona: text(), text: text(), run: text(), ..quote })
    };
    let friction = |n: usize| Friction {
        id: name(n),
        tool: Some(name(n)),
        template: Some(text()),
        state: State::ALL[1 + n % 6],
        quote: quote(),
        next: [("ended", 12_345), ("again-failed", 7), ("other-module", 1)].into(),
        ..(*friction).clone()
    };
    report.frictions = (0..300).map(|n| Arc::new(friction(n))).collect();
    report.trends = vec![report.trends[0].clone(); 300];
    let module =
        |n| ModuleReport { module: name(n), quote: quote(), ungrounded: 3, ..module.clone() };
    report.modules = (0..300).map(module).collect();
    let resolved = |n| Resolved {
        id: name(n),
        tool: Some(name(n)),
        template: text(),
        last_hit: report.frictions[0].last_seen.at,
        at: report.frictions[0].last_seen.at,
    };
    report.resolved_without_hit = (0..300).map(resolved).collect();
    let tools = &mut report.changes.tools;
    [&mut tools.added, &mut tools.removed, &mut tools.changed]
        .into_iter()
        .for_each(|list| *list = names(300));
    report.missing =
        (0..300).map(|n| Missing { name: name(n), personas: n, calls: n as u32 }).collect();
    report.slow =
        (0..300).map(|n| Slow { tool: name(n), p50_ms: 900, p95_ms: 61_000, n }).collect();
    let not_tested = |n: usize| {
        let subject = if n % 8 < 4 { Subject::Tool(name(n)) } else { Subject::Module(name(n)) };
        NotTested { subject, why: WhyNotTested::ALL[n % 4] }
    };
    report.not_tested = (0..300).map(not_tested).collect();
    let at = report.frictions[0].last_seen.at;
    report.unreachable = vec![Outage { from: at, to: at, runs: 3 }; 300];
    report.deployments.iter_mut().for_each(|build| build.version = text());
    if let Coverage::Personas(rows) = &mut report.coverage {
        let mut days = rows[0].days.repeat(58);
        for (n, day) in days.iter_mut().enumerate() {
            day.status = DayStatus::ALL[n * 7 % 11];
        }
        *rows = (0..50).map(|n| PersonaDays { persona: name(n), days: days.clone() }).collect();
    }
    let unrated = ["forgotten", "refused", "stopped", "no-money"].map(|why| (why, 7));
    report.reliability.unrated = Unrated { n: 28, of: 84, why: unrated.into() };
    let settings = ["model", "effort", "prompt", "runner", "policy"];
    let since = (0..).map(|days| at - SignedDuration::from_hours(24 * days));
    let confounded = settings.into_iter().zip(since);
    report.reliability.confounded =
        confounded.map(|(what, since)| Confounder { what, since }).collect();
    report.fleet.not_run =
        WhyNotRun::ALL.iter().map(|why| NotRun { why: *why, count: 7 }).collect();
    report.unfinished = Unfinished { failed: 3, locked_out: 4 };
    report.is_catalog_known = false;
    report.muted = 12;
    report.runs_without_calls = 3;
    report
}
