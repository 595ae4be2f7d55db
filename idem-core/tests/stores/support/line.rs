//! Databases behind a line that can be cut off.

use crate::support::bank::Bank;
use crate::support::mysql::MySql;
use crate::support::postgres::Postgres;
use crate::support::proxy::Proxy;
use crate::support::shop::Shop;

/// A shop whose line to the server can be cut off.
pub(crate) trait Lined: Shop {
    fn url(&self) -> &str;
    fn over(&self, url: String) -> Self;
}

impl Lined for Postgres {
    fn url(&self) -> &str {
        &self.url
    }

    fn over(&self, url: String) -> Self {
        self.at(url)
    }
}

impl Lined for MySql {
    fn url(&self) -> &str {
        &self.url
    }

    fn over(&self, url: String) -> Self {
        self.at(url)
    }
}

pub(crate) async fn lined<S: Lined>() -> (S, S, Proxy) {
    let shop = <S as Bank>::open().await;
    Shop::migrate(&shop, "idem_outbox").await.unwrap();
    let proxy = Proxy::before(shop.url()).await;
    let lined = shop.over(proxy.url(shop.url()));
    (shop, lined, proxy)
}
