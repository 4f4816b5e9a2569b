//! x
/// x
pub fn router(_: annals::App) -> axum::Router {
    axum::Router::new()
}
