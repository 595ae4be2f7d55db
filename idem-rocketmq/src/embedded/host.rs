//! The thread that name server and broker live on.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_broker::{BrokerBootstrap, BrokerStartupError, Running};
use rocketmq_observability::{TelemetryHandle, TelemetryRuntimeGuard};
use rocketmq_runtime::RuntimeOwner;
use rocketmq_runtime::shutdown_deadline::ShutdownDeadline;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use super::admin::Admin;
use super::config::{self, Options, Ports};
use super::producer::Producer;
use super::{EmbeddedBroker, EmbeddedError, locks};
use crate::client::own_runtime;

/// The broker polls large futures.
const STACK_BYTES: usize = 16 << 20;

const PATIENCE: Duration = Duration::from_secs(5);

type Started = Result<(String, Admin, Producer), EmbeddedError>;

pub(super) async fn start(options: Options) -> Result<EmbeddedBroker, EmbeddedError> {
    let (ready, started) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let (down_sender, down) = watch::channel(false);
    let builder = thread::Builder::new().name("idem-embedded".to_owned()).stack_size(STACK_BYTES);
    let live = move || {
        live(&options, ready, stopped);
        down_sender.send_replace(true);
    };
    builder.spawn(live).map_err(|error| EmbeddedError::Start(error.to_string()))?;
    let ended = |_| EmbeddedError::Start("its thread ended".to_owned());
    let (name_server, admin, producer) = started.await.map_err(ended)??;
    Ok(EmbeddedBroker { name_server, admin, producer, stop: Mutex::new(Some(stop)), down })
}

/// A stop signal ends the services in order; a dropped one ends them like a crash.
fn live(options: &Options, ready: oneshot::Sender<Started>, stopped: oneshot::Receiver<()>) {
    let directory = match tempfile::Builder::new().prefix("idem-embedded-").tempdir() {
        Ok(directory) => directory,
        Err(error) => return drop(ready.send(Err(EmbeddedError::Start(error.to_string())))),
    };
    match own_runtime("idem-embedded", 32) {
        Ok(owner) => {
            owner.block_on(serve(&owner, options, &directory, ready, stopped));
            owner.shutdown_background();
        }
        Err(cause) => drop(ready.send(Err(EmbeddedError::Start(cause)))),
    }
}

async fn serve(
    owner: &RuntimeOwner,
    options: &Options,
    directory: &TempDir,
    ready: oneshot::Sender<Started>,
    stopped: oneshot::Receiver<()>,
) {
    let (services, face) = match boot(owner, options, directory).await {
        Ok(started) => started,
        Err(error) => return drop(ready.send(Err(error))),
    };
    if ready.send(Ok(face)).is_ok() && stopped.await.is_ok() {
        services.end().await;
        owner.shutdown_tasks_until(ShutdownDeadline::after(PATIENCE)).await;
    }
}

struct Services {
    broker: BrokerBootstrap<Running>,
    name_server: oneshot::Sender<()>,
}

impl Services {
    async fn end(self) {
        let _ = timeout(PATIENCE, self.broker.shutdown()).await;
        let _ = self.name_server.send(());
    }
}

async fn boot(
    owner: &RuntimeOwner,
    options: &Options,
    directory: &TempDir,
) -> Result<(Services, (String, Admin, Producer)), EmbeddedError> {
    let ports = Ports::find().map_err(|error| EmbeddedError::Start(error.to_string()))?;
    let address = |port| format!("{}:{port}", Ipv4Addr::LOCALHOST);
    let name_server = boot_name_server(owner, directory, ports.name_server).await?;
    let broker = boot_broker(owner, options, directory, ports).await?;
    let admin = Admin::new(address(ports.name_server), address(ports.broker));
    let producer = Producer::new(owner.root_context().component("producer"), address(ports.name_server));
    locks::keep(address(ports.name_server), address(ports.broker)).await?;
    Ok((Services { broker, name_server }, (address(ports.name_server), admin, producer)))
}

async fn boot_name_server(
    owner: &RuntimeOwner,
    directory: &TempDir,
    port: u16,
) -> Result<oneshot::Sender<()>, EmbeddedError> {
    let (stop, stopped) = oneshot::channel::<()>();
    let context = owner.root_context().component("name-server");
    let bootstrap = rocketmq_namesrv::bootstrap::Builder::new(context, TelemetryHandle::noop())
        .set_name_server_config(config::name_server(directory.path()))
        .set_server_config(config::server(port))
        .build();
    let stopped = async { drop(stopped.await) };
    let serving = tokio::spawn(Box::pin(bootstrap.boot_with_shutdown(stopped)));
    let answers = async {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ended = serving => Err(EmbeddedError::Start(format!("the name server ended: {ended:?}"))),
        answered = timeout(PATIENCE, answers) => match answered {
            Ok(()) => Ok(stop),
            Err(_) => Err(EmbeddedError::Start("the name server does not answer".to_owned())),
        },
    }
}

async fn boot_broker(
    owner: &RuntimeOwner,
    options: &Options,
    directory: &TempDir,
    ports: Ports,
) -> Result<BrokerBootstrap<Running>, EmbeddedError> {
    let config = config::broker(directory.path(), ports, options)?;
    let context = owner.root_context().component("broker");
    let bootstrap = rocketmq_broker::Builder::new(context, TelemetryRuntimeGuard::noop())
        .with_validated_config(config)
        .build();
    let failed = |error: BrokerStartupError| {
        let cause = error.rollback_cause().map_or_else(|| format!("{error:?}"), |cause| format!("{cause:?}"));
        EmbeddedError::Start(cause)
    };
    Box::pin(bootstrap.initialize().await.map_err(failed)?.start()).await.map_err(failed)
}
