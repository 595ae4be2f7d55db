/// The routes of functions with `#[idempotent]`, for `Consumer::builder().handlers(..)`.
///
/// ```
/// # mod pay {
/// #     use idem_rocketmq::prelude::*;
/// #     #[idempotent(key_from = message_keys, topic = "orders")]
/// #     pub async fn refund(_: String) {}
/// # }
/// use idem_rocketmq::prelude::*;
///
/// #[idempotent(key_from = message_keys, topic = "lines")]
/// async fn count(line: String) {
///     println!("{line}");
/// }
///
/// let routes: Vec<Route> = handlers![count, pay::refund];
/// ```
///
/// A handler is named by the struct that the attribute puts beside the function, which lives where types live and is as
/// visible as the function. A module and an imported function of one name clash there: for `mod pay; use pay::pay;` write
/// `handlers![pay::pay]`. So do a crate and a handler of one name: write `handlers![self::sqlx]`.
#[macro_export]
macro_rules! handlers {
    ($($handlers:tt)*) => {
        $crate::__private::handlers!(($crate) $($handlers)*)
    };
}
