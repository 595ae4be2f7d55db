use idem_core::Doubt;

use super::extracted::at_once;
use super::{Call, Extract};

/// An earlier run of the key that ended without an answer.
impl Extract<'_> for Option<Doubt> {
    at_once!(|call: &mut Call<'_>| Ok(call.lease().doubt()));
}
