//! What is done to each request and answer of a consumer's client.

use std::net::SocketAddr;

use cheetah_string::CheetahString;
use rocketmq_client_rust::AclClientRPCHook;
use rocketmq_error::SharedError;
use rocketmq_protocol::protocol::remoting_command::RemotingCommand;
use rocketmq_transport::api::RPCHook;

/// `CONSUME_MESSAGE_DIRECTLY`, a broker's request in the name of its administrator, as of `mqadmin queryMsgById -g -d`.
const CONSUME_MESSAGE_DIRECTLY: i32 = 309;

const REFUSED: &str = "idem handles no message out of its turn: it would be in nobody's order, and its failure would have no retry. \
                       Send it again with `mqadmin queryMsgById -s true`, or reset the group's offset; idem drops what was handled before";

/// Signs requests, where there are credentials, and refuses messages that are handed over by hand: the client would run the
/// handler, and answer in a form of which the administrator's tool shows `consumeResult=null`.
pub(super) struct Hook {
    pub(super) signer: Option<AclClientRPCHook>,
}

impl RPCHook for Hook {
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
        match &self.signer {
            Some(signer) => signer.do_before_request(address, request),
            None => Ok(()),
        }
    }

    fn do_after_response(
        &self,
        address: SocketAddr,
        request: &RemotingCommand,
        response: &mut RemotingCommand,
    ) -> Result<(), SharedError> {
        if request.code() == CONSUME_MESSAGE_DIRECTLY {
            response.set_remark_mut(REFUSED);
            return Ok(());
        }
        match &self.signer {
            Some(signer) => signer.do_after_response(address, request, response),
            None => Ok(()),
        }
    }
}
