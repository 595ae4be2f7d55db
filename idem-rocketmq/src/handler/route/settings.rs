//! The handler's own policy, one method a setting. What is not said comes from the consumer's defaults.

use idem_core::Settings;

use super::Route;

impl Route {
    /// All settings at once; those said before stay where these say nothing.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings.or(&self.settings);
        self
    }

    fn said(&mut self) -> &mut Settings {
        &mut self.settings
    }
}

idem_core::setters! { Route }
