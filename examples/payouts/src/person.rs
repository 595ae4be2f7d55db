//! A person looks into what is left in doubt, with the provider's ledger on the other screen, and decides.

use idem_rocketmq::admin::{Admin, ListedKey, RecordFilter, records_of_group};
use idem_rocketmq::embedded::{Bench, Outgoing};

use crate::Failure;
use crate::provider::Provider;
use crate::teller::{self, Payout, Setting};

/// Decides `done` where the provider has paid, else `run`, and sends the dead letter again. How many there were of each.
pub(crate) async fn decide(
    setting: &Setting,
    bench: &Bench,
    provider: &Provider,
) -> Result<(usize, usize), Failure> {
    let admin = Admin::new(teller::store(&setting.store).await?, "a person of the example");
    let group = records_of_group("", &setting.group());
    let doubts = admin.list(RecordFilter::new().within(group).in_doubt(true)).all().await?;
    let (mut done, mut run) = (0, 0);
    for found in doubts {
        let ListedKey::Whole(key) = &found.key else { continue };
        if done + run == 0
            && let Some(report) = admin.show(key).await?
        {
            println!("\nOne of them:\n{report}");
        }
        let id = key.key().to_string_lossy();
        if provider.paid(&id).await > 0 {
            admin.done(key, "the provider's ledger has it").await?;
            done += 1;
        } else {
            admin.run(key, "the provider's ledger does not have it").await?;
            let body = serde_json::to_string(&Payout { id })?;
            bench.producer().send(Outgoing::new(setting.topic("hold"), body)).await?;
            run += 1;
        }
    }
    Ok((done, run))
}
