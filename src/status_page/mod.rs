//! A page that shows all breakers to an operator, and can control them.
mod body;
mod breakers;
mod future;
mod page;
mod response;
mod route;
mod row;
mod same_origin;

pub use self::body::ResponseBody;
pub use self::future::ResponseFuture;
pub use self::page::StatusPage;
