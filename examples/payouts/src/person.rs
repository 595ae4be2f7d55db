//! A person looks into what is held in doubt, with the provider's ledger on the other screen, and decides.

use idem_rocketmq::admin::{Admin, AdminError, ListedKey, RecordFilter, records_of_topic};
use idem_rocketmq::embedded::{Bench, Outgoing};

use crate::Failure;
use crate::provider::Provider;
use crate::teller::{self, Payout, Setting};

/// The decisions of a person.
#[derive(Default)]
pub(crate) struct Decisions {
    pub(crate) done: usize,
    pub(crate) run: usize,
}

/// Decides `done` where the provider has paid, else `run`, and sends the dead letter again. That one may end without an answer, too,
/// so there may be more to decide later.
pub(crate) async fn decide(
    setting: &Setting,
    bench: &Bench,
    provider: &Provider,
    decisions: &mut Decisions,
) -> Result<(), Failure> {
    let admin = Admin::new(teller::store(&setting.store).await?, "a person of the example");
    let held = records_of_topic("", &setting.group(), &setting.topic("hold"), "");
    let doubts = admin.list(RecordFilter::new().namespace(held).in_doubt(true)).all().await?;
    for found in doubts {
        let ListedKey::Whole(key) = &found.key else { continue };
        if decisions.done + decisions.run == 0
            && let Some(report) = admin.show(key).await?
        {
            println!("\nOne of them:\n{report}");
        }
        let id = key.key().to_string_lossy();
        let is_paid = provider.paid(&id).await > 0;
        let decided = if is_paid {
            admin.done(key, "the provider's ledger has it").await
        } else {
            admin.run(key, "the provider's ledger does not have it").await
        };
        match decided {
            Ok(_) if is_paid => decisions.done += 1,
            Ok(_) => {
                let body = serde_json::to_string(&Payout { id })?;
                bench.producer().send(Outgoing::new(setting.topic("hold"), body)).await?;
                decisions.run += 1;
            }
            // A teller has it just now: it is decided later.
            Err(AdminError::Live { .. } | AdminError::Overtaken) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
