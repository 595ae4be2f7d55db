use super::extracted::at_once;
use super::{BatchCall, BatchExtract, Call, Extract, Needs};

/// The connection of the transaction that commits together with the message's record.
impl<'d, C: Send + 'static> Extract<'d> for &'d mut C {
    fn needs(needs: &mut Needs) {
        needs.connection::<C>();
    }

    at_once!(|call: &mut Call<'d>| call.connection());
}

/// The connection of the transaction that commits together with the records of all messages.
impl<'d, C: Send + 'static> BatchExtract<'d> for &'d mut C {
    fn needs(needs: &mut Needs) {
        needs.connection::<C>();
    }

    at_once!(|call: &mut BatchCall<'d>| call.connection());
}
