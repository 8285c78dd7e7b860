//! How often `compare` finds what a deployment broke, and how often it finds what is not there: simulated worlds of
//! [`devstack::worlds`], and the figures of section 3 of the design beside them.
//!
//! `cargo run --release --bin worlds -- [COUNT]`, with COUNT worlds in each row (200). `.ci/worlds` calls it.

use std::{process::ExitCode, thread};

use devstack::worlds::{Fault, World};
use mana_persona_runner::{
    facts::{
        compare::{Comparison, Fact, Overall, Verdict, compare},
        window::{Builder, Days},
    },
};

fn comparison(world: &World) -> Comparison {
    let mut builder = Builder::default();
    for line in world.lines() {
        builder.take(line).unwrap();
    }
    compare(&builder.finish(Days::Last(100)).unwrap(), None, None).unwrap()
}

fn main() -> ExitCode {
    let count: u64 = std::env::args().nth(1).map_or(200, |s| s.parse().unwrap());
    let quiet = World::quiet(0);
    let fault = Fault { rate: 0.5, personas: 10, users: 10, has_own_issue: false };
    let f = |days, fault| World { days, fault: Some(fault), ..quiet };
    let rows = [
        ("quiet 2%", quiet),
        ("quiet 10%", World { rate: 0.1, ..quiet }),
        ("drift", World { drift: 1.0, ..quiet }),
        ("rating drift", World { rating_drift: 0.4, ..quiet }),
        ("50% 1d", f(1, fault)),
        ("50% 2d", f(2, fault)),
        ("50% 3d", f(3, fault)),
        ("50% 7d", f(7, fault)),
        ("own 50% 1d", f(1, Fault{has_own_issue: true, ..fault})),
        ("own 50% 2d", f(2, Fault{has_own_issue: true, ..fault})),
        ("own 50% 3d", f(3, Fault{has_own_issue: true, ..fault})),
        ("3 of 10 whole 50%", f(7, Fault { personas: 3, ..fault })),
        ("3 of 10 own 50%", f(7, Fault { personas: 3, has_own_issue: true, ..fault })),
        ("3 of 10 whole 100%", f(7, Fault { rate: 1.0, personas: 3, ..fault })),
        ("3 of 10 own 100%", f(7, Fault { rate: 1.0, personas: 3, has_own_issue: true, ..fault })),
        ("rating drop", World { rating_drop: 0.5, ..quiet }),
        ("rating drop drifting", World { rating_drop: 0.5, rating_drift: 0.4, ..quiet }),
        ("only one", f(7, Fault { rate: 1.0, users: 1, ..fault })),
    ];
    for (name, world) in rows {
        let all: Vec<Comparison> = thread::scope(|s| {
            let halves: Vec<_> = (0..2).map(|h| s.spawn(move || (0..count).filter(|i| i % 2 == h).map(|seed| comparison(&World { seed: seed + 1, ..world })).collect::<Vec<_>>())).collect();
            halves.into_iter().flat_map(|h| h.join().unwrap()).collect()
        });
        let share = |f: &dyn Fn(&Comparison) -> bool| all.iter().filter(|c| f(c)).count() as f64 / count as f64;
        let worse = |c: &Comparison, fact: Fact, what: &str| c.findings.iter().any(|f| f.verdict == Verdict::Worse && f.fact == fact && (f.tool.as_deref() == Some(what) || f.module.as_deref() == Some(what)));
        let tool = World::struck_tool();
        let module = World::struck_module();
        let lam = |f: &dyn Fn(&Comparison) -> Option<f64>| { let mut v: Vec<f64> = all.iter().filter_map(|c| f(c)).collect(); v.sort_by(f64::total_cmp); (v.len(), v.get(v.len()/2).copied().unwrap_or(0.0)) };
        let m = all.iter().map(|c| c.findings.iter().filter(|f| f.p_adjusted.is_some()).count()).sum::<usize>() as f64 / count as f64;
        let kind = |k: Fact| share(&|c| c.findings.iter().any(|f| f.verdict == Verdict::Worse && f.fact == k));
        println!("{name:20} worse {:.3} | tool {:.3} issue {:.3} dead {:.3} module {:.3} rating {:.3} | any: issue {:.3} tool {:.3} dead {:.3} module {:.3} rating {:.3} | λ {:?} {:?} m {m:.1}",
            share(&|c| c.verdict == Overall::Worse),
            share(&|c| worse(c, Fact::Tool, &tool)), share(&|c| worse(c, Fact::Issue, &tool)), share(&|c| worse(c, Fact::DeadEnd, &tool)), share(&|c| worse(c, Fact::Module, &module)), share(&|c| worse(c, Fact::Rating, &module)),
            kind(Fact::Issue), kind(Fact::Tool), kind(Fact::DeadEnd), kind(Fact::Module), kind(Fact::Rating),
            lam(&|c| c.lambda.share), lam(&|c| c.lambda.rating));
    }
    ExitCode::SUCCESS
}
