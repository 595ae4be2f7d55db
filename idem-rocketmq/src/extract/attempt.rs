use idem_core::Attempt;

use super::extracted::at_once;
use super::{Call, Extract};

impl Extract<'_> for Attempt {
    at_once!(|call: &mut Call<'_>| Ok(call.attempt()));
}
