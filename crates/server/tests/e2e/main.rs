//! The service from outside: the real binary, real media, a real database, over real sockets.
//!
//! One binary, so that samples and PostgreSQL are made once. [`app::TestApp`] starts a service of its own for each
//! test; [`receiver::Receiver`] is somebody's webhook endpoint; [`files::FileHost`] is somebody's video host.

mod app;
mod fetched;
mod files;
mod receiver;

mod arriving;
mod contract;
mod crash;
mod database;
mod flow;
mod formats;
mod genuine;
mod hostile;
mod kills;
mod live;
mod load;
mod playlists;
mod refused;
mod s3;
mod third_party;
mod tus;
mod tus_going_on;
mod uploads;
mod webhooks;
