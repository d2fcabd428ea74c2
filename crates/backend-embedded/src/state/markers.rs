//! Markers that have come back through the broker; per route the latest counts.

use std::collections::BTreeMap;

use drumline_protocol::message::{Marker, Route};

use super::State;

/// Route → the latest stamp.
#[derive(Clone, Debug, Default)]
pub(super) struct Markers(BTreeMap<Route, u64>);

impl State {
    /// Notes that a marker has come back.
    pub fn marker_returned(&mut self, marker: &Marker) {
        let latest = self.markers.0.entry(marker.route.clone()).or_default();
        *latest = marker.stamp.max(*latest);
    }

    /// The latest markers.
    #[must_use]
    pub fn markers(&self) -> Vec<Marker> {
        let latest = self.markers.0.iter();
        latest
            .map(|(route, &stamp)| Marker {
                route: route.clone(),
                stamp,
            })
            .collect()
    }
}
