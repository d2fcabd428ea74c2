//! Markers that have come back through the broker; per route the latest counts.

use drumline_backend::store::Result;
use drumline_protocol::message::Marker;

use super::RedisStore;
use crate::reply::{self, Parts};
use crate::scripts::SCRIPTS;

impl RedisStore {
    pub(super) async fn note_marker(&self, marker: &Marker) -> Result<()> {
        let route = serde_json::to_vec(&marker.route)
            .map_err(|_error: serde_json::Error| reply::unexpected())?;
        let mut command = SCRIPTS.marker_returned.call(&[self.keys.markers()]);
        command.arg(route).arg(marker.stamp);
        self.link.run_one("marker", command).await?;
        Ok(())
    }

    pub(super) async fn latest_markers(&self) -> Result<Vec<Marker>> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.keys.markers());
        let mut parts = Parts::of(self.link.run_one("markers", command).await?)?;
        let mut markers = Vec::new();
        while parts.len() > 0 {
            let (route, stamp) = (parts.bytes()?, reply::text(parts.value()?)?);
            // A route of another release is of no interest to us.
            let (Ok(route), Ok(stamp)) = (serde_json::from_slice(&route), stamp.parse()) else {
                continue;
            };
            markers.push(Marker { route, stamp });
        }
        markers.sort_by(|a, b| a.route.cmp(&b.route));
        Ok(markers)
    }
}
