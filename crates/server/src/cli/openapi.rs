//! `audio-extract openapi`

use super::{Stop, print};
use crate::http::openapi;

pub(super) fn run() -> Result<(), Stop> {
    print(openapi::document().trim_end())
}
