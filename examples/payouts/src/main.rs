//! Payouts to a provider that times out, answers late and loses requests, by tellers that are killed and stopped in the middle. The
//! same storm under three policies, and a table from the provider's own ledger: who was paid once, twice, not at all.
//!
//! `cargo run -p payouts`, or with `REDIS_URL=redis://..` or `DATABASE_URL=postgres://..` or `mysql://..`, and `NAMESRV_ADDR=host:port`,
//! on real servers. `KILLS=200` kills more often.

mod person;
mod provider;
mod report;
mod teller;

use std::collections::BTreeSet;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use idem_rocketmq::embedded::{Bench, EmbeddedBroker, Outgoing};

use crate::person::Decisions;
use crate::provider::Provider;
use crate::report::{PolicyReport, Report};
use crate::teller::{POLICIES, Payout, Setting};

type Failure = Box<dyn std::error::Error>;

const TELLERS: usize = 2;
const KILLS: usize = 12;
/// Payouts of each policy for each time that a teller is killed.
const PAYOUTS_A_KILL: usize = 15;

/// The example must not hang where something is wrong.
const LONGEST: Duration = Duration::from_mins(3);

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    // A teller is this program, too, in a process that can be killed.
    if let Some(setting) = Setting::of_environment() {
        teller::work(&setting).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis().to_string();
    let kills = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("records.db").display().to_string();
    let store =
        ["REDIS_URL", "DATABASE_URL"].into_iter().find_map(|name| std::env::var(name).ok()).unwrap_or(file);
    let provider = Provider::default();
    let mut setting = Setting { name_server: String::new(), store, provider: provider.listen().await?, run };
    let broker = broker(&mut setting).await?;
    let bench = Bench::connect(&setting.name_server).await?;
    for policy in POLICIES {
        bench.create_topic(&setting.topic(policy), 4).await?;
    }
    // Tables are made here, before two tellers begin at once.
    drop(teller::store(&setting.store).await?);

    let count = kills * PAYOUTS_A_KILL;
    println!(
        "Paying {count} payouts under each policy; tellers are killed or stopped {kills} times meanwhile .."
    );
    let mut tellers = (0..TELLERS).map(|_| setting.start()).collect::<Result<Vec<_>, _>>()?;
    for kill in 0..kills {
        for number in (kill * PAYOUTS_A_KILL)..((kill + 1) * PAYOUTS_A_KILL) {
            for policy in POLICIES {
                let body = serde_json::to_string(&Payout { id: format!("{policy}-{number}") })?;
                bench.producer().send(Outgoing::new(setting.topic(policy), body)).await?;
            }
        }
        tokio::time::sleep(Duration::from_millis(rand::random_range(500..1_500))).await;
        disturb(&setting, &mut tellers[kill % TELLERS], kill).await?;
    }
    let report = settled(&setting, &bench, &provider, count).await?;
    println!("{report}");
    println!("\nA person looks into what is held ..");
    let mut decisions = Decisions::default();
    let decided = all_paid(&setting, &bench, &provider, count, &mut decisions).await?;
    println!(
        "The ledger had {} of them, which are done; {} times one was not there, and was sent again.\n{decided}",
        decisions.done, decisions.run
    );
    for teller in &mut tellers {
        let _ = teller.kill();
        teller.wait()?;
    }
    if let Some(broker) = broker {
        broker.shutdown().await;
    }
    Ok(if report.is_right() && decided.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A broker in this process, unless the environment names one.
async fn broker(setting: &mut Setting) -> Result<Option<EmbeddedBroker>, Failure> {
    if let Ok(name_server) = std::env::var("NAMESRV_ADDR") {
        setting.name_server = name_server;
        return Ok(None);
    }
    println!("Starting a RocketMQ name server and broker in this process ..");
    let broker = EmbeddedBroker::builder().start().await?;
    broker.name_server().clone_into(&mut setting.name_server);
    Ok(Some(broker))
}

/// Kills a teller and starts another one, or lets it stand still for longer than its leases.
async fn disturb(setting: &Setting, teller: &mut Child, kill: usize) -> Result<(), Failure> {
    if kill % 3 == 2 {
        println!("  {:>3}: a teller stands still", kill + 1);
        signal(teller, "STOP")?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        return signal(teller, "CONT");
    }
    println!("  {:>3}: a teller is killed", kill + 1);
    teller.kill()?;
    teller.wait()?;
    *teller = setting.start()?;
    Ok(())
}

fn signal(teller: &Child, name: &str) -> Result<(), Failure> {
    Command::new("kill").args([format!("-{name}"), teller.id().to_string()]).status()?;
    Ok(())
}

/// The table, when each payout is paid or a dead letter.
async fn settled(
    setting: &Setting,
    bench: &Bench,
    provider: &Provider,
    count: usize,
) -> Result<Report, Failure> {
    let begun = Instant::now();
    loop {
        let letters = in_doubt(setting, bench).await;
        let mut reports = Vec::new();
        let mut open = 0;
        for policy in POLICIES {
            let mut report = PolicyReport { policy, ..PolicyReport::default() };
            for number in 0..count {
                let id = format!("{policy}-{number}");
                let is_in_doubt = letters.contains(&id);
                report.in_doubt += usize::from(is_in_doubt);
                match provider.paid(&id).await {
                    0 => {
                        report.unpaid += 1;
                        open += usize::from(!is_in_doubt);
                    }
                    1 => report.once += 1,
                    _ => report.twice += 1,
                }
            }
            reports.push(report);
        }
        let backlog = setting.backlog(bench).await?;
        if (open == 0 && backlog == 0) || begun.elapsed() > LONGEST {
            if open > 0 {
                println!("  {open} payouts are neither paid nor in doubt after {LONGEST:?}");
            }
            return Ok(Report(reports));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The table of `hold` alone, when a person has decided until each payout is paid.
async fn all_paid(
    setting: &Setting,
    bench: &Bench,
    provider: &Provider,
    count: usize,
    decisions: &mut Decisions,
) -> Result<Report, Failure> {
    let begun = Instant::now();
    loop {
        person::decide(setting, bench, provider, decisions).await?;
        let mut report = PolicyReport { policy: "hold", ..PolicyReport::default() };
        for number in 0..count {
            match provider.paid(&format!("hold-{number}")).await {
                0 => report.unpaid += 1,
                1 => report.once += 1,
                _ => report.twice += 1,
            }
        }
        if report.unpaid == 0 || begun.elapsed() > LONGEST {
            return Ok(Report(vec![report]));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The payouts whose dead letters a person has to look into.
async fn in_doubt(setting: &Setting, bench: &Bench) -> BTreeSet<String> {
    // There is no such topic before its first message.
    let letters = bench.read_all(&format!("%DLQ%{}", setting.group())).await.unwrap_or_default();
    let ids = letters.iter().filter(|letter| letter.property("IDEM_OUTCOME") == Some("uncertain"));
    ids.filter_map(|letter| serde_json::from_slice::<Payout>(&letter.body).ok())
        .map(|payout| payout.id)
        .collect()
}

impl Setting {
    /// This program, as a teller.
    fn start(&self) -> Result<Child, Failure> {
        Ok(Command::new(std::env::current_exe()?).envs(self.environment()).spawn()?)
    }

    /// The messages that the tellers have not taken yet.
    async fn backlog(&self, bench: &Bench) -> Result<u64, Failure> {
        let mut backlog = 0;
        for policy in POLICIES {
            backlog += bench.backlog(&self.group(), &self.topic(policy)).await?;
        }
        Ok(backlog)
    }
}
