//! Placeholders in a handler's topic, tags, filter and scope, as rocketmq-spring's users know them: `${name}`, `${name:default}`.

use std::collections::BTreeMap;

use super::Route;

/// The values that a consumer has for placeholders, by name.
pub(crate) type Values = BTreeMap<String, String>;

/// A placeholder that cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlaceholderFault {
    /// `${` without `}`.
    Unclosed,
    /// `${}`.
    Unnamed,
    /// There is neither a value of this name nor a default.
    Missing(String),
}

impl Route {
    /// The route with all of its placeholders filled in. The error says where the placeholder is.
    pub(crate) fn filled(mut self, values: &Values) -> Result<Self, (&'static str, PlaceholderFault)> {
        let fill = |place, text: &str| fill(text, values).map_err(|fault| (place, fault));
        self.topic = fill("topic", &self.topic)?;
        self.tags = self.tags.iter().map(|tag| fill("tag", tag)).collect::<Result<_, _>>()?;
        self.filter = self.filter.map(|condition| fill("filter", &condition)).transpose()?;
        self.scope = self.scope.map(|scope| fill("scope", &scope)).transpose()?;
        Ok(self)
    }
}

/// A value is taken as it is: placeholders in it are text.
fn fill(text: &str, values: &Values) -> Result<String, PlaceholderFault> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, placeholder)) = rest.split_once("${") {
        let (placeholder, after) = placeholder.split_once('}').ok_or(PlaceholderFault::Unclosed)?;
        let (name, default) = match placeholder.split_once(':') {
            Some((name, default)) => (name, Some(default)),
            None => (placeholder, None),
        };
        let name = name.trim();
        if name.is_empty() {
            return Err(PlaceholderFault::Unnamed);
        }
        let value = values.get(name).map(String::as_str).or(default);
        filled.push_str(before);
        filled.push_str(value.ok_or_else(|| PlaceholderFault::Missing(name.to_owned()))?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, PlaceholderFault> {
        let values = [("orders", "shop-orders"), ("odd", "${orders}"), ("none", "")];
        fill(text, &values.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    #[test]
    fn a_placeholder_is_replaced_by_its_value_or_else_by_its_default() {
        assert_eq!(filled("orders").unwrap(), "orders");
        assert_eq!(filled("${orders}").unwrap(), "shop-orders");
        assert_eq!(
            filled("a-${ orders }-${orders:unused}-${eu:us:east}-${x:}.").unwrap(),
            "a-shop-orders-shop-orders-us:east-."
        );
        assert_eq!(filled("$orders {orders} }").unwrap(), "$orders {orders} }");
        assert_eq!(filled("${none:default}").unwrap(), "", "an empty value is a value");
    }

    #[test]
    fn a_value_is_not_looked_through_again() {
        assert_eq!(filled("${odd}").unwrap(), "${orders}");
    }

    #[test]
    fn a_placeholder_without_a_value_a_name_or_an_end_is_an_error() {
        assert_eq!(filled("${order}"), Err(PlaceholderFault::Missing("order".to_owned())));
        assert_eq!(filled("${}"), Err(PlaceholderFault::Unnamed));
        assert_eq!(filled("${ :orders}"), Err(PlaceholderFault::Unnamed));
        assert_eq!(filled("${orders"), Err(PlaceholderFault::Unclosed));
    }
}
