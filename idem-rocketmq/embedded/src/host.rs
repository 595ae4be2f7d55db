//! The thread that name server and broker live on.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rocketmq_broker::{BrokerBootstrap, BrokerStartupError, Running};
use rocketmq_namesrv::NameServerResult;
use rocketmq_observability::{TelemetryHandle, TelemetryRuntimeGuard};
use rocketmq_runtime::RuntimeOwner;
use rocketmq_runtime::shutdown_deadline::ShutdownDeadline;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::admin::Admin;
use super::config::{self, BrokerOptions, Ports};
use super::producer::Producer;
use super::{Bench, BrokerHandle, EmbeddedBroker, EmbeddedError, locks};
use idem_rocketmq_client::own_runtime;

/// The broker polls large futures.
const STACK_BYTES: usize = 16 << 20;

const PATIENCE: Duration = Duration::from_secs(5);

const IMPATIENCE: Duration = Duration::from_millis(200);

/// When broker and name server have ended, nothing is left that is worth waiting for.
const END_TASKS: Duration = Duration::from_millis(200);

type StartResult = Result<BrokerHandle, EmbeddedError>;

pub(super) async fn start(options: BrokerOptions) -> Result<EmbeddedBroker, EmbeddedError> {
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
    let handle = started.await.map_err(ended)??;
    Ok(EmbeddedBroker { handle, stop: Mutex::new(Some(stop)), down })
}

type ReadySender = oneshot::Sender<StartResult>;

fn live(options: &BrokerOptions, ready: ReadySender, stopped: oneshot::Receiver<()>) {
    let failure = live_in_directory(options, ready, stopped);
    // Only now are the files gone and the ports free.
    if let Some((ready, error)) = failure {
        let _ = ready.send(Err(error));
    }
}

fn live_in_directory(
    options: &BrokerOptions,
    ready: ReadySender,
    stopped: oneshot::Receiver<()>,
) -> Option<(ReadySender, EmbeddedError)> {
    let directory = match tempfile::Builder::new().prefix("idem-embedded-").tempdir() {
        Ok(directory) => directory,
        Err(error) => return Some((ready, EmbeddedError::Start(error.to_string()))),
    };
    let owner = match own_runtime("idem-embedded", 32) {
        Ok(owner) => owner,
        Err(cause) => return Some((ready, EmbeddedError::Start(cause))),
    };
    let failure = owner.block_on(async {
        match boot(&owner, options, &directory).await {
            Ok((services, handle)) => serve(&owner, services, handle, ready, stopped).await,
            Err(error) => return Some((ready, error)),
        }
        None
    });
    owner.shutdown_background();
    failure
}

/// Until the stop signal. A dropped one is that of somebody who cannot wait.
async fn serve(
    owner: &RuntimeOwner,
    services: Services,
    handle: BrokerHandle,
    ready: ReadySender,
    stopped: oneshot::Receiver<()>,
) {
    let patience = match ready.send(Ok(handle)) {
        Ok(()) => stopped.await.map_or(IMPATIENCE, |()| PATIENCE),
        Err(_) => IMPATIENCE,
    };
    services.end(patience).await;
    owner.shutdown_tasks_until(ShutdownDeadline::after(END_TASKS)).await;
}

struct Services {
    broker: Box<BrokerBootstrap<Running>>,
    name_server: NameServer,
}

struct NameServer {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<NameServerResult<()>>,
}

impl Services {
    /// A broker that had consumers takes about three seconds.
    async fn end(self, patience: Duration) {
        let _ = timeout(patience, Box::pin(self.broker.shutdown())).await;
        let _ = self.name_server.stop.send(());
        let _ = timeout(END_TASKS, self.name_server.serving).await;
    }
}

async fn boot(
    owner: &RuntimeOwner,
    options: &BrokerOptions,
    directory: &TempDir,
) -> Result<(Services, BrokerHandle), EmbeddedError> {
    let ports = Ports::find().map_err(|error| EmbeddedError::Start(error.to_string()))?;
    let address = |port| format!("{}:{port}", Ipv4Addr::LOCALHOST);
    let name_server = boot_name_server(owner, directory, ports.name_server).await?;
    let broker = boot_broker(owner, options, directory, ports).await?;
    let admin = Admin::new(address(ports.name_server), address(ports.broker));
    let producer = Producer::new(owner.root_context().component("producer"), address(ports.name_server));
    locks::keep(address(ports.name_server), address(ports.broker)).await?;
    let directory = directory.path().to_owned();
    let handle = BrokerHandle { directory, bench: Bench { admin, producer, _alive: None } };
    Ok((Services { broker, name_server }, handle))
}

async fn boot_name_server(
    owner: &RuntimeOwner,
    directory: &TempDir,
    port: u16,
) -> Result<NameServer, EmbeddedError> {
    let (stop, stopped) = oneshot::channel::<()>();
    let context = owner.root_context().component("name-server");
    let bootstrap = rocketmq_namesrv::bootstrap::Builder::new(context, TelemetryHandle::noop())
        .set_name_server_config(config::name_server(directory.path()))
        .set_server_config(config::server(port))
        .build();
    let stopped = async { drop(stopped.await) };
    let mut serving = tokio::spawn(Box::pin(bootstrap.boot_with_shutdown(stopped)));
    let answers = async {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ended = &mut serving => Err(EmbeddedError::Start(format!("the name server ended: {ended:?}"))),
        answered = timeout(PATIENCE, answers) => match answered {
            Ok(()) => Ok(NameServer { stop, serving }),
            Err(_) => Err(EmbeddedError::Start("the name server does not answer".to_owned())),
        },
    }
}

async fn boot_broker(
    owner: &RuntimeOwner,
    options: &BrokerOptions,
    directory: &TempDir,
    ports: Ports,
) -> Result<Box<BrokerBootstrap<Running>>, EmbeddedError> {
    let config = config::broker(directory.path(), ports, options)?;
    let context = owner.root_context().component("broker");
    let bootstrap = rocketmq_broker::Builder::new(context, TelemetryRuntimeGuard::noop())
        .with_validated_config(config)
        .build();
    let failed = |error: BrokerStartupError| {
        let cause = error.rollback_cause().unwrap_or(&error);
        if cause.missing_requirements().contains(&"message_store_writable") {
            return EmbeddedError::Start(format!(
                "the broker does not write to {}, as on a disk that is nine tenths full: make room, or name another \
                 directory in TMPDIR",
                directory.path().display()
            ));
        }
        EmbeddedError::Start(format!("{cause:?}"))
    };
    let initialized = Box::pin(bootstrap.initialize()).await.map_err(failed)?;
    Box::pin(initialized.start()).await.map(Box::new).map_err(failed)
}
