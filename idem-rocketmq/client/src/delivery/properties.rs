use std::fmt;

use cheetah_string::CheetahString;

/// A message's properties. There are few, so that looking through all of them is quicker than a map.
#[derive(Clone, Default)]
pub struct Properties(Vec<(CheetahString, CheetahString)>);

impl Properties {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn set(&mut self, name: CheetahString, value: CheetahString) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    pub(super) fn by_name(&self) -> Vec<(&str, &str)> {
        let pairs = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_unstable();
        pairs
    }
}

/// From pairs with different names.
impl FromIterator<(CheetahString, CheetahString)> for Properties {
    fn from_iter<I: IntoIterator<Item = (CheetahString, CheetahString)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// The names alone: a value may be a secret.
impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_name().iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::Delivery;

    #[test]
    fn a_property_that_is_set_again_has_its_last_value_and_they_come_by_name() {
        let delivery =
            Delivery::builder("t").property("b", "1").property("a", "2").property("b", "3").build();
        assert_eq!(delivery.property("b"), Some("3"));
        assert_eq!(delivery.properties().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
    }
}
