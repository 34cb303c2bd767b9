//! The bill of materials that lies beside the binary: every crate that is linked into it, and into
//! the eBPF programs that it carries, in CycloneDX's JSON.
//!
//! It lists what the build itself said that it compiled for the target. Cargo's dependency tree, which
//! is asked on its own, has to say the same; so what is missing, or is only for developers, is seen.
//! It has neither a date nor a serial number, so that equal sources give equal files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::{DepKindInfo, DependencyKind, Metadata, Package, PackageId};
use cyclonedx_bom::external_models::uri::Purl;
use cyclonedx_bom::models::component::Classification;
use cyclonedx_bom::models::dependency::{Dependencies, Dependency};
use cyclonedx_bom::models::license::{LicenseChoice, Licenses};
use cyclonedx_bom::models::metadata::Metadata as About;
use cyclonedx_bom::prelude::*;

use crate::cargo::{self, cargo};
use crate::static_link::TARGET;
use crate::ui;

/// What the file is called: the name that scanners look for.
const FILE: &str = "foreword.cdx.json";

/// The package of the binary, and that of the programs inside it.
const BINARY: &str = "proxy-user";
const PROGRAMS: &str = "proxy-ebpf";
const PROGRAMS_TARGET: &str = "bpfel-unknown-none";

/// Writes it beside the binary. `compiled` are the ids of packages that the build of the binary
/// compiled for its target.
pub fn write(binary: &Path, compiled: &BTreeSet<PackageId>) -> Result<()> {
    let metadata = cargo::metadata(TARGET)?;
    let linked = tree(BINARY, TARGET, &metadata)?;
    require_same(compiled, &linked, &metadata)?;
    let inside = tree(PROGRAMS, PROGRAMS_TARGET, &metadata)?;
    let all: BTreeSet<_> = linked.union(&inside).cloned().collect();
    require_no_developers(&all, &metadata)?;

    let path = binary.with_file_name(FILE);
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    bill(&all, &metadata)?.output_as_json_v1_5(&mut &file).context("cannot write the SBOM")?;
    let count = read_back(&path)?;
    ui::done(&format!("{FILE}: {count} components, as the build and Cargo's tree have them"));
    Ok(())
}

/// The ids of the packages whose code is linked into a package's binary, its own among them.
fn tree(package: &str, target: &str, metadata: &Metadata) -> Result<BTreeSet<PackageId>> {
    let mut command = cargo();
    command.args(["tree", "--package", package, "--target", target, "--prefix=none"]);
    command.args(["--edges=normal,no-proc-macro", "--format={p}"]);
    let lines = cargo::output(&mut command)?;
    lines.lines().map(|line| Ok(find(line, metadata)?.id.clone())).collect()
}

/// Name and version.
fn label(package: &Package) -> String {
    format!("{}@{}", package.name, package.version)
}

/// The only package of this name.
fn named<'a>(name: &str, metadata: &'a Metadata) -> Result<&'a Package> {
    let mut all = metadata.packages.iter().filter(|package| *package.name == name);
    match (all.next(), all.next()) {
        (Some(package), None) => Ok(package),
        (None, _) => bail!("there is no package {name}"),
        (Some(_), Some(_)) => bail!("there are several packages {name}"),
    }
}

/// The package that a line of `cargo tree` is about: `name v1.2.3`, and perhaps more.
fn find<'a>(line: &str, metadata: &'a Metadata) -> Result<&'a Package> {
    let begins = |package: &&Package| {
        let begin = format!("{} v{}", package.name, package.version);
        line.strip_prefix(&begin).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let found = metadata.packages.iter().find(begins);
    found.with_context(|| format!("`cargo metadata` does not know {line}"))
}

/// The packages that are linked with this one because it asks for them.
fn linked_by<'a>(id: &'a PackageId, metadata: &'a Metadata) -> impl Iterator<Item = &'a PackageId> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let edges = nodes.filter(move |node| node.id == *id).flat_map(|node| &node.deps);
    let is_linked = |kind: &DepKindInfo| kind.kind == DependencyKind::Normal;
    edges.filter(move |edge| edge.dep_kinds.iter().any(is_linked)).map(|edge| &edge.pkg)
}

/// All the packages that end up in what this one is linked to, its own among them.
fn linked_into<'a>(id: &'a PackageId, metadata: &'a Metadata) -> BTreeSet<&'a PackageId> {
    let mut seen = BTreeSet::from([id]);
    let mut left = vec![id];
    while let Some(id) = left.pop() {
        left.extend(linked_by(id, metadata).filter(|it| seen.insert(*it)));
    }
    seen
}

/// The build and the tree know the same packages.
fn require_same(
    compiled: &BTreeSet<PackageId>,
    linked: &BTreeSet<PackageId>,
    metadata: &Metadata,
) -> Result<()> {
    let names = |ids: Vec<&PackageId>| {
        ids.into_iter().map(|id| label(&metadata[id])).collect::<Vec<_>>().join(", ")
    };
    let unnamed = names(compiled.difference(linked).collect());
    let uncompiled = names(linked.difference(compiled).collect());
    if !unnamed.is_empty() || !uncompiled.is_empty() {
        bail!(
            "the build and `cargo tree` differ: compiled and not in the tree: [{unnamed}]; in the \
             tree and not compiled: [{uncompiled}]"
        );
    }
    Ok(())
}

/// Nothing of what only tests need is in it.
///
/// A package that tests ask for and that is linked all the same, because another one needs it, is
/// none of them.
fn require_no_developers(all: &BTreeSet<PackageId>, metadata: &Metadata) -> Result<()> {
    let binary = named(BINARY, metadata)?;
    let linked: BTreeSet<_> = linked_into(&binary.id, metadata)
        .into_iter()
        .map(|id| metadata[id].name.as_str())
        .collect();
    let for_tests = binary.dependencies.iter().filter(|it| it.kind == DependencyKind::Development);
    let only_for_tests: BTreeSet<_> =
        for_tests.map(|it| it.name.as_str()).filter(|name| !linked.contains(name)).collect();
    if only_for_tests.is_empty() {
        bail!("{BINARY} has no dependency that is only for tests: this check checks nothing");
    }
    let all: BTreeSet<_> = all.iter().map(|id| metadata[id].name.as_str()).collect();
    match only_for_tests.intersection(&all).next() {
        Some(name) => bail!("{name}, which is only for tests, is in the SBOM"),
        None => Ok(()),
    }
}

fn bill(all: &BTreeSet<PackageId>, metadata: &Metadata) -> Result<Bom> {
    let binary = named(BINARY, metadata)?;
    let others = all.iter().filter(|id| **id != binary.id);
    let mut components: Vec<_> =
        others.map(|id| component(&metadata[id])).collect::<Result<_>>()?;
    components.push(standard_library()?);
    let mut main = component(binary)?;
    main.component_type = Classification::Application;
    main.name = NormalizedString::new("foreword");
    Ok(Bom {
        serial_number: None,
        metadata: Some(About { component: Some(main), ..About::default() }),
        components: Some(Components(components)),
        dependencies: Some(dependencies(all, metadata)?),
        ..Bom::default()
    })
}

fn component(package: &Package) -> Result<Component> {
    let Package { name, version, license, source, .. } = package;
    let version = version.to_string();
    let mut component =
        Component::new(Classification::Library, name, &version, Some(label(package)));
    // Ours are not published: a number in a registry would be somebody else's.
    if source.is_some() {
        component.purl = Some(Purl::new("cargo", name, &version)?);
    }
    let license = license.as_deref().with_context(|| format!("{name} names no licence"))?;
    // `A/B` is how Cargo used to write an alternative.
    let choice = LicenseChoice::expression(&license.replace('/', " OR "));
    component.licenses = Some(Licenses(vec![choice]));
    Ok(component)
}

/// What rustc links besides, and no dependency names.
fn standard_library() -> Result<Component> {
    let mut rustc = Command::new("rustc");
    rustc.arg("--version");
    let said = cargo::output(&mut rustc)?;
    let version = said.split_whitespace().nth(1).context("rustc tells no version")?;
    let mut component =
        Component::new(Classification::Library, "std", version, Some(format!("std@{version}")));
    let choice = LicenseChoice::expression("MIT OR Apache-2.0");
    component.licenses = Some(Licenses(vec![choice]));
    Ok(component)
}

/// Who needs whom, among these. The binary carries the programs, which no edge of Cargo's says.
fn dependencies(all: &BTreeSet<PackageId>, metadata: &Metadata) -> Result<Dependencies> {
    let label = |id: &PackageId| label(&metadata[id]);
    let mut needs: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for id in all {
        let of = linked_by(id, metadata).filter(|other| all.contains(*other));
        needs.insert(id, of.map(label).collect());
    }
    let (binary, programs) = (named(BINARY, metadata)?, named(PROGRAMS, metadata)?);
    needs.entry(&binary.id).or_default().insert(label(&programs.id));
    let entry = |(id, of): (&PackageId, BTreeSet<String>)| Dependency {
        dependency_ref: label(id),
        dependencies: of.into_iter().collect(),
    };
    Ok(Dependencies(needs.into_iter().map(entry).collect()))
}

/// Reads the file as its users do: it is valid by the specification. How many components it has.
fn read_back(path: &Path) -> Result<usize> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let bom = Bom::parse_from_json_v1_5(&text[..]).context("the SBOM can't be read back")?;
    let result = bom.validate_version(SpecVersion::V1_5);
    if !result.passed() {
        bail!("the SBOM is not valid CycloneDX 1.5: {result:?}");
    }
    Ok(bom.components.map_or(0, |components| components.0.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_only_one_side_knows_is_named() {
        let metadata = cargo::metadata(TARGET).unwrap();
        let linked = tree(BINARY, TARGET, &metadata).unwrap();
        require_same(&linked, &linked, &metadata).unwrap();
        let tokio = named("tokio", &metadata).unwrap().id.clone();
        let fewer: BTreeSet<_> = linked.iter().filter(|id| **id != tokio).cloned().collect();
        for (compiled, tree) in [(&fewer, &linked), (&linked, &fewer)] {
            let error = require_same(compiled, tree, &metadata).unwrap_err().to_string();
            assert!(error.contains("tokio@"), "{error}");
        }
    }

    #[test]
    fn what_is_only_for_tests_is_refused() {
        let metadata = cargo::metadata(TARGET).unwrap();
        let mut linked = tree(BINARY, TARGET, &metadata).unwrap();
        require_no_developers(&linked, &metadata).unwrap();
        linked.insert(named("proptest", &metadata).unwrap().id.clone());
        let error = require_no_developers(&linked, &metadata).unwrap_err().to_string();
        assert!(error.contains("proptest"), "{error}");
    }

    #[test]
    fn what_tests_ask_for_as_well_is_linked_all_the_same() {
        let metadata = cargo::metadata(TARGET).unwrap();
        let asked = &named(BINARY, &metadata).unwrap().dependencies;
        let kinds: Vec<_> = asked.iter().filter(|it| it.name == "aya-obj").collect();
        assert!(kinds.iter().all(|it| it.kind == DependencyKind::Development), "{kinds:?}");
        let linked = tree(BINARY, TARGET, &metadata).unwrap();
        assert!(linked.contains(&named("aya-obj", &metadata).unwrap().id));
        require_no_developers(&linked, &metadata).unwrap();
    }

    #[test]
    fn the_bill_is_valid_and_names_both_halves() {
        let metadata = cargo::metadata(TARGET).unwrap();
        let mut all = tree(BINARY, TARGET, &metadata).unwrap();
        all.extend(tree(PROGRAMS, PROGRAMS_TARGET, &metadata).unwrap());
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join(FILE);
        let file = File::create(&path).unwrap();
        bill(&all, &metadata).unwrap().output_as_json_v1_5(&mut &file).unwrap();
        // The binary is what the file is about, and the standard library no package.
        assert_eq!(read_back(&path).unwrap(), all.len());
        let text = fs::read_to_string(&path).unwrap();
        for name in ["\"aya\"", "\"aya-ebpf\"", "\"std\"", "pkg:cargo/tokio@"] {
            assert!(text.contains(name), "{name}");
        }
        assert!(!text.contains("pkg:cargo/proxy-common"), "it is in no registry");
    }
}
