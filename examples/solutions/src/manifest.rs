//! `solution.xml`: what a package says about itself.
//!
//! ```xml
//! <ImportExportXml>
//!   <SolutionManifest>
//!     <UniqueName>sales</UniqueName>
//!     <Version>1.1.0.0</Version>
//!     <UpgradesFrom>1.0.0.0</UpgradesFrom>
//!     <Dependencies>
//!       <Dependency solution="core" version="1.0.0.0"/>
//!     </Dependencies>
//!     <RootComponents>
//!       <RootComponent path="forms/order.json"/>
//!     </RootComponents>
//!   </SolutionManifest>
//! </ImportExportXml>
//! ```
//!
//! Names and paths become files, so both are checked here and nowhere else: a
//! [`Manifest`] that exists cannot reach outside its target folder.

use std::path::{Component, Path};

use roxmltree::{Document, Node};

use crate::version::Version;

/// The name of the file in the package.
pub(crate) const FILE: &str = "solution.xml";

/// A manifest that obeys the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The solution's unique name: `[a-z0-9-]`, not empty.
    pub(crate) solution: String,
    /// The version that will be installed.
    pub(crate) version: Version,
    /// The version that must be installed before; `None` for a first version.
    pub(crate) upgrades: Option<Version>,
    /// Other solutions that must be there.
    pub(crate) dependencies: Vec<Dependency>,
    /// The components' paths: relative, inside the folder.
    pub(crate) components: Vec<String>,
}

/// A solution that must be there, and its lowest version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// Its unique name.
    pub(crate) solution: String,
    /// The lowest version that will do.
    pub(crate) at_least: Version,
}

impl Manifest {
    /// Reads a manifest; the error says which rule is broken.
    pub(crate) fn parse(xml: &str) -> Result<Self, String> {
        let document = Document::parse(xml).map_err(|error| error.to_string())?;
        let root = document
            .descendants()
            .find(|node| node.has_tag_name("SolutionManifest"))
            .ok_or("it has no SolutionManifest")?;
        let manifest = Self {
            solution: name(&text(root, "UniqueName")?)?,
            version: version(&text(root, "Version")?)?,
            upgrades: match child(root, "UpgradesFrom") {
                Some(node) => Some(version(node.text().unwrap_or_default())?),
                None => None,
            },
            dependencies: listed(root, "Dependencies", "Dependency")
                .map(|node| {
                    Ok(Dependency {
                        solution: name(&attribute(node, "solution")?)?,
                        at_least: version(&attribute(node, "version")?)?,
                    })
                })
                .collect::<Result<_, String>>()?,
            components: listed(root, "RootComponents", "RootComponent")
                .map(|node| path(&attribute(node, "path")?))
                .collect::<Result<_, String>>()?,
        };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        if self.upgrades.is_some_and(|from| from >= self.version) {
            return Err("it must upgrade to a higher version".to_owned());
        }
        let mut paths: Vec<_> = self.components.iter().collect();
        paths.sort_unstable();
        let twice = paths.windows(2).find(|pair| pair.first() == pair.last());
        match twice.and_then(|pair| pair.first()) {
            Some(path) => Err(format!("the component {path} is listed twice")),
            None => Ok(()),
        }
    }

    /// The manifest as a file.
    pub(crate) fn to_xml(&self) -> String {
        let mut xml = String::from(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<ImportExportXml>\n  <SolutionManifest>\n",
        );
        let mut line = |text: String| {
            xml.push_str(&text);
            xml.push('\n');
        };
        // Names, versions and paths hold nothing that XML would have escaped:
        // `parse` would not have let it through.
        line(format!("    <UniqueName>{}</UniqueName>", self.solution));
        line(format!("    <Version>{}</Version>", self.version));
        if let Some(from) = self.upgrades {
            line(format!("    <UpgradesFrom>{from}</UpgradesFrom>"));
        }
        line("    <Dependencies>".to_owned());
        for Dependency { solution, at_least } in &self.dependencies {
            line(format!(
                "      <Dependency solution=\"{solution}\" version=\"{at_least}\"/>"
            ));
        }
        line("    </Dependencies>\n    <RootComponents>".to_owned());
        for path in &self.components {
            line(format!("      <RootComponent path=\"{path}\"/>"));
        }
        line("    </RootComponents>\n  </SolutionManifest>\n</ImportExportXml>".to_owned());
        xml
    }
}

fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|node| node.has_tag_name(name))
}

fn listed<'a>(
    root: Node<'a, 'a>,
    list: &str,
    item: &'static str,
) -> impl Iterator<Item = Node<'a, 'a>> {
    child(root, list)
        .into_iter()
        .flat_map(|list| list.children())
        .filter(move |node| node.has_tag_name(item))
}

fn text(node: Node<'_, '_>, name: &str) -> Result<String, String> {
    child(node, name)
        .and_then(|node| node.text())
        .map(|text| text.trim().to_owned())
        .ok_or_else(|| format!("it has no {name}"))
}

fn attribute(node: Node<'_, '_>, name: &str) -> Result<String, String> {
    node.attribute(name)
        .map(str::to_owned)
        .ok_or_else(|| format!("a {} has no {name}", node.tag_name().name()))
}

fn version(text: &str) -> Result<Version, String> {
    text.trim()
        .parse()
        .map_err(|error: crate::version::NotAVersion| error.to_string())
}

fn name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || !text.chars().all(allowed) {
        return Err(format!(
            "{text:?} is not a unique name: lower-case letters, digits and hyphens"
        ));
    }
    Ok(text.to_owned())
}

fn path(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./ ".contains(c);
    let inside = Path::new(text)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    // The component `a/./b` would be normal in pieces and another file as text.
    let plain = !text.split('/').any(|part| part.is_empty() || part == ".");
    if text.is_empty() || !inside || !plain || !text.chars().all(allowed) {
        return Err(format!(
            "{text:?} is not the path of a component inside the package"
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sales() -> Manifest {
        Manifest {
            solution: "sales".to_owned(),
            version: Version([1, 1, 0, 0]),
            upgrades: Some(Version([1, 0, 0, 0])),
            dependencies: vec![Dependency {
                solution: "core".to_owned(),
                at_least: Version([1, 0, 0, 0]),
            }],
            components: vec!["forms/order.json".to_owned(), "plugins/tax.js".to_owned()],
        }
    }

    #[test]
    fn a_manifest_survives_writing_and_reading() {
        assert_eq!(Manifest::parse(&sales().to_xml()), Ok(sales()));
    }

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "a/./b",
            "a\\b",
            "a&b",
        ] {
            let mut manifest = sales();
            manifest.components = vec![path.to_owned()];
            let error = Manifest::parse(&manifest.to_xml()).unwrap_err();
            assert!(!error.is_empty(), "{path}");
        }
    }

    #[test]
    fn rules_between_fields_are_checked() {
        let mut backwards = sales();
        backwards.upgrades = Some(backwards.version);
        let error = Manifest::parse(&backwards.to_xml()).unwrap_err();
        assert!(error.contains("higher version"), "{error}");

        let mut twice = sales();
        twice.components.push("forms/order.json".to_owned());
        let error = Manifest::parse(&twice.to_xml()).unwrap_err();
        assert!(error.contains("listed twice"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let xml = "<SolutionManifest><UniqueName>x</UniqueName></SolutionManifest>";
        assert_eq!(Manifest::parse(xml), Err("it has no Version".to_owned()));
    }
}
