//! `OperationType`: the numbers of the Dynamics service, their names, and the
//! two rules that depend on them.

use serde::{Deserialize, Serialize};

/// The type of an operation. Numbers outside the list are accepted and shown
/// as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OperationType(pub u32);

/// Number and name of every type that the documents list.
pub const KNOWN: &[(u32, &str)] = &[
    (1, "System Event"),
    (2, "Bulk Email"),
    (3, "Import File Parse"),
    (4, "Transform Parse Data"),
    (5, "Import"),
    (6, "Activity Propagation"),
    (7, "Duplicate Detection Rule Publish"),
    (8, "Bulk Duplicate Detection"),
    (9, "SQM Data Collection"),
    (10, "Workflow"),
    (11, "Quick Campaign"),
    (12, "Matchcode Update"),
    (13, "Bulk Delete"),
    (14, "Deletion Service"),
    (15, "Index Management"),
    (16, "Collect Organization Statistics"),
    (17, "Import Subprocess"),
    (18, "Calculate Organization Storage Size"),
    (19, "Collect Organization Database Statistics"),
    (20, "Collection Organization Size Statistics"),
    (21, "Database Tuning"),
    (22, "Calculate Organization Maximum Storage Size"),
    (23, "Bulk Delete Subprocess"),
    (24, "Update Statistic Intervals"),
    (25, "Organization Full Text Catalog Index"),
    (26, "Database Log Backup"),
    (27, "Update Contract States"),
    (30, "Reindex All"),
    (31, "Storage Limit Notification"),
    (32, "Cleanup Inactive Workflow Assemblies"),
    (35, "Recurring Series Expansion"),
    (38, "Import Sample Data"),
    (40, "Goal Roll Up"),
    (42, "Check For Language Pack Updates"),
    (45, "Update Solution"),
    (50, "Outgoing Activity"),
    (51, "Incoming Email Processing"),
    (54, "Execute Async Request"),
    (57, "Calculate Rollup Field"),
    (58, "Mass Calculate Rollup Field"),
    (59, "Import Translation"),
    (63, "Entity Key Index Creation"),
    (90, "Cascade Assign"),
    (91, "Cascade Delete"),
    (103, "Cancel Async Operations"),
    (202, "Export Solution"),
    (203, "Import Solution"),
    (204, "Publish All"),
];

impl OperationType {
    /// "Execute Async Request", the type of an operation that names none.
    pub const DEFAULT: Self = Self(54);

    /// The name in the documents; `None` for other numbers.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        KNOWN
            .iter()
            .find_map(|&(number, name)| (number == self.0).then_some(name))
    }

    /// Returns true if clients may cancel, pause and resume operations of this
    /// type.
    #[must_use]
    pub const fn can_be_controlled(self) -> bool {
        !matches!(self.0, 9 | 16 | 18 | 19 | 20 | 22 | 24 | 25 | 27 | 31)
    }

    /// Returns true if operations of this type may carry a dependency token:
    /// bulk e-mail, bulk delete and import may not.
    #[must_use]
    pub const fn can_have_token(self) -> bool {
        !matches!(self.0, 2 | 3 | 4 | 5 | 13 | 17 | 23)
    }
}

impl Default for OperationType {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKFLOW: OperationType = OperationType(10);
    const UNKNOWN: OperationType = OperationType(999);

    #[test]
    fn a_type_has_the_name_of_the_documents() {
        assert_eq!(WORKFLOW.name(), Some("Workflow"));
        let default = OperationType::default();
        assert_eq!(default.name(), Some("Execute Async Request"));
        assert_eq!(UNKNOWN.name(), None);
    }

    #[test]
    fn types_of_the_system_are_not_controlled_by_clients() {
        let collect_statistics = OperationType(16);
        assert!(!collect_statistics.can_be_controlled());
        assert!(WORKFLOW.can_be_controlled());
        assert!(UNKNOWN.can_be_controlled());
    }

    #[test]
    fn types_that_work_in_bulk_have_no_token() {
        let bulk_delete = OperationType(13);
        assert!(!bulk_delete.can_have_token());
        assert!(WORKFLOW.can_have_token());
        assert!(UNKNOWN.can_have_token());
    }
}
