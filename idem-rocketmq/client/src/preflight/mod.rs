//! Questions to the servers before a start, because the client asks nothing and is silent.

mod access;
mod begin;
mod members;
mod offsets;
mod order;
mod reach;
mod wire;

use rocketmq_client_rust::ClientConfig;

pub(crate) use self::offsets::HOST;
use self::offsets::Offsets;
pub(crate) use self::order::{OrderConflict, watch};
pub(crate) use self::reach::check as reach;
use crate::credentials::Credentials;
use crate::error::ClientError;
use crate::settings::{ClientSettings, Mode};
use crate::tls::LoadedTls;

/// Refuses to start over faults that the client would ignore in silence, and prepares where it begins. Returns the addresses of
/// the brokers.
pub(crate) async fn ask(
    settings: &ClientSettings,
    config: &ClientConfig,
    tls: Option<&LoadedTls>,
) -> Result<Vec<String>, ClientError> {
    let topics: Vec<_> =
        settings.subscriptions.iter().map(|(topic, _)| settings.in_namespace(topic)).collect();
    let brokers = reach::check(&settings.cluster.name_servers, tls, &topics).await?;
    let signer = settings.cluster.credentials.as_ref().map(Credentials::hook);
    let mut asked = access::check(settings, tls, signer.as_ref(), &brokers).await?;
    if settings.mode == Mode::Broadcast {
        let mut own = Offsets::read(settings, config)?;
        begin::prepare(settings, &mut asked, Some(&mut own)).await?;
        own.write(settings)?;
    } else {
        begin::prepare(settings, &mut asked, None).await?;
    }
    Ok(brokers.into_keys().collect())
}
