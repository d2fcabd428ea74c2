//! The marks of imports, by the names of the exports.

use std::collections::BTreeMap;

use drumline_backend::store::Import;

use super::State;

/// The marks.
#[derive(Clone, Debug, Default)]
pub(super) struct Imports(pub(super) BTreeMap<String, Import>);

impl State {
    /// Notes that an import has begun or is done.
    pub fn note_import(&mut self, import: &Import) {
        self.touched.import(&import.id);
        self.imports.0.insert(import.id.clone(), import.clone());
    }

    /// The marks of all imports.
    #[must_use]
    pub fn imports(&self) -> Vec<Import> {
        self.imports.0.values().cloned().collect()
    }
}
