//! A listener on a port of the loopback interface, for stand-ins and proxies.

use tokio::net::{TcpListener, TcpStream};

/// Listens until the test's runtime ends, serves all connections concurrently, and returns the port.
pub(crate) async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let served = serve(client);
            tokio::spawn(async move {
                let _ended = served.await;
            });
        }
    });
    port
}
