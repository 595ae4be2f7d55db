use idem_core::{HandlerError, HandlerResult};

/// A handler's return value: nothing, or a `Result` of nothing with an error that becomes a
/// [`HandlerError`].
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "not a handler's result",
    note = "return nothing, `HandlerResult`, or `Result<(), E>` where `E` is an error, `anyhow::Error` or a string",
    note = "a boxed error goes to other threads: `Box<dyn Error + Send + Sync>`"
)]
pub trait HandlerReturn {
    /// The result.
    ///
    /// # Errors
    /// The handler failed.
    fn into_result(self) -> HandlerResult;
}

impl HandlerReturn for () {
    fn into_result(self) -> HandlerResult {
        Ok(())
    }
}

#[diagnostic::do_not_recommend]
impl<E: Into<HandlerError>> HandlerReturn for Result<(), E> {
    fn into_result(self) -> HandlerResult {
        self.map_err(Into::into)
    }
}
