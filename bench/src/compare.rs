//! What a request costs beside its signatures: rounds of both, one after the other, so that what
//! else the machine does falls on both.

use std::future::Future;

use crate::Failure;
use crate::load::{Load, ROUNDS, cores, count, deal, drive, median};
use crate::signatures::{self, Alone, Set};
use crate::table::{Measurement, Row, Target};

/// Tasks that ask at once: enough that commits are made together.
pub(crate) const TASKS: usize = 256;
/// Requests of one round.
pub(crate) const REQUESTS: usize = 5_120;

/// What is compared, and with what.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// What is asked for.
    pub(crate) what: &'a str,
    /// Which signatures one request costs.
    pub(crate) set: Set,
    /// The part of the signatures' rate that is wanted, where docs/design.md §9 says one.
    pub(crate) least: Option<f64>,
    /// About how many a second and core it has in mind.
    pub(crate) orientation: Option<f64>,
}

/// Compares. `prepare` makes the requests of a round, `each` does one.
pub(crate) async fn compare<J, F, R>(
    subject: &Subject<'_>,
    prepare: impl Fn() -> Result<Vec<J>, Failure>,
    each: F,
) -> Result<Measurement, Failure>
where
    J: Send + 'static,
    F: Fn(J) -> R + Clone + Send + 'static,
    R: Future<Output = Result<(), String>> + Send,
{
    drive(deal(prepare()?, TASKS), each.clone()).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let jobs = prepare()?;
        let before = signatures::alone(subject.set)?;
        let load = drive(deal(jobs, TASKS), each.clone()).await?;
        let after = signatures::alone(subject.set)?;
        let rate = f64::midpoint(before.rate, after.rate);
        rounds.push((load, Alone { rate, cpu: f64::midpoint(before.cpu, after.cpu) }));
    }
    let of = |one: &dyn Fn(&Load, &Alone) -> f64| {
        median(rounds.iter().map(|(load, alone)| one(load, alone)).collect())
    };
    let how = format!(
        "{} signatures; {REQUESTS} requests by {TASKS} tasks on {} cores, durable, in process; \
         median of {ROUNDS} rounds",
        subject.set,
        cores()
    );
    let about = match subject.orientation {
        Some(about) => format!("a second and core (about {about:.0} in mind)"),
        None => "a second and core".to_owned(),
    };
    let wanted = |row: Row| match subject.least {
        Some(least) => row.against(Target::AtLeast(least)),
        None => row,
    };
    let rows = vec![
        wanted(Row::of(
            "its signatures' part of its processor time",
            of(&|load, alone| alone.cpu / load.cpu_each()),
            "",
        )),
        wanted(Row::of(
            "its rate, of the rate of its signatures alone",
            of(&|load, alone| load.rate() / alone.rate),
            "",
        )),
        Row::of(about, of(&|load, _| load.rate()) / count(cores()), "/s"),
        Row::of(
            "processor time each, threads of store and log too",
            of(&|load, _| load.cpu_each()),
            "us",
        ),
        Row::of("processor time of its signatures alone", of(&|_, alone| alone.cpu), "us"),
        Row::of("time each under that load, p50", of(&|load, _| load.at(50)) / 1_000.0, "ms"),
        Row::of("time each under that load, p99", of(&|load, _| load.at(99)) / 1_000.0, "ms"),
        Row::of("cores that others kept busy meanwhile", of(&|load, _| load.others()), ""),
    ];
    Ok(Measurement { what: subject.what.to_owned(), how, rows })
}
