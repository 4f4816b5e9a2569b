//! A world behind a proxy, for tests of connections that break.

use tests::{Person, Proxy, World};

/// A world behind a proxy, and the same world without it, to check what was stored.
pub(crate) struct BehindProxy {
    pub(crate) plain: World,
    pub(crate) proxied: World,
    pub(crate) proxy: Proxy,
    pub(crate) staff: Person,
}

impl BehindProxy {
    pub(crate) async fn new() -> Self {
        let plain = World::without_requirements().await;
        let proxy = Proxy::start().await;
        Self {
            proxied: proxy.before(&plain),
            plain,
            proxy,
            staff: Person::staff(),
        }
    }
}
