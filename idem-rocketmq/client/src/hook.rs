//! The changes that idem makes to requests and answers between the client and the servers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use cheetah_string::CheetahString;
use rocketmq_client_rust::{AclClientRPCHook, ClientError};
use rocketmq_error::SharedError;
use rocketmq_protocol::protocol::remoting_command::RemotingCommand;
use rocketmq_transport::api::RPCHook;

use crate::credentials::Credentials;
use crate::pulled::PullSorter;
use crate::versions::Versions;

/// Carries a [`CopyStamp`] from the copy to its request. It is taken out there and never sent.
pub(super) const STAMP: &str = "IDEM_STAMP";

const SEND_MESSAGE: i32 = 10;
const SEND_MESSAGE_V2: i32 = 310;

/// `CONSUME_MESSAGE_DIRECTLY`, a broker's request in the name of its administrator, as of `mqadmin queryMsgById -g -d`.
const CONSUME_MESSAGE_DIRECTLY: i32 = 309;

const REFUSED: &str = "idem handles no message out of its turn: it would be in nobody's order, and its failure would have no retry. \
                       Send it again with `mqadmin queryMsgById -s true`, or reset the group's offset; idem drops what was handled before";

/// The part of a request to store a copy that the client's producer cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CopyStamp {
    /// How its body is compressed.
    pub(super) sys_flag: i32,
    /// When its producer made it, in milliseconds since 1970.
    pub(super) born: i64,
}

/// The one hook that the client takes. It also refuses messages that are handed over by hand: the client would run the handler,
/// and answer in a form of which the administrator's tool shows `consumeResult=null`.
#[derive(Default)]
pub(super) struct RequestHook {
    signer: Option<AclClientRPCHook>,
    pulled: Option<PullSorter>,
    /// Whether what is sent is stamped; see [`STAMP`].
    stamped: bool,
    versions: Arc<Versions>,
}

impl RequestHook {
    pub(super) fn new(credentials: Option<&Credentials>, versions: &Arc<Versions>) -> Self {
        Self {
            signer: credentials.map(Credentials::hook),
            pulled: None,
            stamped: false,
            versions: versions.clone(),
        }
    }

    pub(super) fn sorting(self, pulled: PullSorter) -> Self {
        Self { pulled: Some(pulled), ..self }
    }

    /// For a producer of copies.
    pub(super) fn stamping(self) -> Self {
        Self { stamped: true, ..self }
    }
}

impl RPCHook for RequestHook {
    fn do_before_request(
        &self,
        address: SocketAddr,
        request: &mut RemotingCommand,
    ) -> Result<(), SharedError> {
        if request.code() == CONSUME_MESSAGE_DIRECTLY {
            // An error here would be answered in general words. A group that is not here has no consumer to run, and the
            // answer is given its words below.
            request.ensure_ext_fields_initialized();
            request.add_ext_field(CheetahString::from("consumerGroup"), CheetahString::from("%"));
            return Ok(());
        }
        if self.stamped {
            put_stamp(request);
        }
        match &self.signer {
            Some(signer) => signer.do_before_request(address, request),
            None => Ok(()),
        }
    }

    fn do_after_response(
        &self,
        address: SocketAddr,
        request: &RemotingCommand,
        answer: &mut RemotingCommand,
    ) -> Result<(), SharedError> {
        if request.code() == CONSUME_MESSAGE_DIRECTLY {
            answer.set_remark_mut(REFUSED);
            return Ok(());
        }
        self.versions.note(request.code(), address, answer.version());
        let sorted = self.pulled.as_ref().map_or(Ok(()), |pulled| pulled.sort_out(request, answer));
        // An answer that is an error is asked for again, a moment later and at the same offset.
        sorted.map_err(|_| {
            ClientError::illegal_argument("the answer's messages cannot be told apart").into_shared_error()
        })
    }
}

impl fmt::Debug for RequestHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHook").field("pulled", &self.pulled).finish_non_exhaustive()
    }
}

impl fmt::Display for CopyStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.sys_flag, self.born)
    }
}

impl CopyStamp {
    fn parse(text: &str) -> Option<Self> {
        let (sys_flag, born) = text.split_once(',')?;
        Some(Self { sys_flag: sys_flag.parse().ok()?, born: born.parse().ok()? })
    }
}

/// From the properties to the header, before it is signed.
fn put_stamp(request: &mut RemotingCommand) {
    let (properties, sys_flag, born) = match request.code() {
        SEND_MESSAGE => ("properties", "sysFlag", "bornTimestamp"),
        SEND_MESSAGE_V2 => ("i", "f", "g"),
        _ => return,
    };
    request.make_custom_header_to_net();
    let all = request.ext_fields().and_then(|fields| fields.get(properties));
    let Some((stamp, rest)) = all.and_then(take_stamp) else { return };
    request.add_ext_field(properties, rest);
    request.add_ext_field(sys_flag, stamp.sys_flag.to_string());
    request.add_ext_field(born, stamp.born.to_string());
}

/// The stamp, and the other properties.
fn take_stamp(properties: &CheetahString) -> Option<(CopyStamp, String)> {
    let is_stamp = |entry: &&str| entry.split_once('\u{1}').is_some_and(|(name, _)| name == STAMP);
    let entries = || properties.split_terminator('\u{2}');
    let stamp = entries().find(is_stamp).and_then(|entry| CopyStamp::parse(entry.split_once('\u{1}')?.1))?;
    let rest = entries().filter(|entry| !is_stamp(entry)).flat_map(|entry| [entry, "\u{2}"]).collect();
    Some((stamp, rest))
}

#[cfg(test)]
mod tests {
    use rocketmq_model::common::mq_version::RocketMqVersion;

    use super::*;

    #[test]
    fn a_stamp_goes_from_the_properties_to_the_header_of_either_form() {
        let properties = "KEYS\u{1}k\u{2}IDEM_STAMP\u{1}257,1700000000123\u{2}TAGS\u{1}PAID\u{2}";
        for (code, names) in [(10, ["properties", "sysFlag", "bornTimestamp"]), (310, ["i", "f", "g"])] {
            let mut request = RemotingCommand::create_remoting_command(code);
            let fields = names.into_iter().zip([properties, "0", "1800000000000"]);
            request =
                request.set_ext_fields(fields.map(|(name, value)| (name.into(), value.into())).collect());
            let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
            RequestHook::default().stamping().do_before_request(nobody, &mut request).unwrap();
            let fields = request.ext_fields().unwrap();
            let values = names.map(|name| fields.get(name).unwrap().as_str());
            assert_eq!(values, ["KEYS\u{1}k\u{2}TAGS\u{1}PAID\u{2}", "257", "1700000000123"]);
        }
    }

    #[test]
    fn a_request_without_a_stamp_stays_as_it_is() {
        let mut request = RemotingCommand::create_remoting_command(10);
        let fields = [("properties", "KEYS\u{1}IDEM_STAMP\u{2}"), ("sysFlag", "1")];
        request = request.set_ext_fields(fields.map(|(name, value)| (name.into(), value.into())).into());
        put_stamp(&mut request);
        assert_eq!(request.ext_fields().unwrap().get("sysFlag").unwrap(), "1");
        assert_eq!(request.ext_fields().unwrap().get("properties").unwrap(), "KEYS\u{1}IDEM_STAMP\u{2}");
    }

    #[test]
    fn a_broker_is_as_old_as_its_answer_to_a_heartbeat_says() {
        const HEART_BEAT: i32 = 34;
        let versions = Arc::<Versions>::default();
        let request = RemotingCommand::create_remoting_command(HEART_BEAT);
        let answer = RemotingCommand::create_remoting_command(0);
        let mut answer = answer.set_version(RocketMqVersion::V4_9_7 as i32);
        let broker = SocketAddr::from(([127, 0, 0, 1], 1));
        RequestHook::new(None, &versions).do_after_response(broker, &request, &mut answer).unwrap();
        assert!(!versions.have_timers());
    }
}
