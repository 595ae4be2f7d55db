use super::{BatchCall, BatchExtract, Call, Extract, ExtractError, Needs};

/// The connection of the transaction that commits together with the message's record.
impl<'d, C: Send + 'static> Extract<'d> for &'d mut C {
    fn needs(needs: &mut Needs) {
        needs.connection::<C>();
    }

    fn extract(call: &mut Call<'d>) -> Result<Self, ExtractError> {
        call.connection()
    }
}

/// The connection of the transaction that commits together with the records of all messages.
impl<'d, C: Send + 'static> BatchExtract<'d> for &'d mut C {
    fn needs(needs: &mut Needs) {
        needs.connection::<C>();
    }

    fn extract(call: &mut BatchCall<'d>) -> Result<Self, ExtractError> {
        call.connection()
    }
}
