//! What Cargo knows of the packages of this workspace and of those that it needs.

use std::collections::BTreeSet;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::cargo;

/// The answer of `cargo metadata`, as far as we care.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

/// One version of a package.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Cargo's own name for it, which nothing else has.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence: an SPDX expression, or the older form with slashes.
    pub license: Option<String>,
    /// Where it comes from; `None`: this workspace.
    pub source: Option<String>,
    /// What its manifest asks for.
    pub dependencies: Vec<Dependency>,
}

/// A dependency in a manifest.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// `dev` or `build`; `None` for what is linked.
    pub kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

impl Package {
    /// Name and version.
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

impl Metadata {
    /// Of a build for this target.
    pub fn of_target(target: &str) -> Result<Self> {
        let mut command = cargo();
        command.args(["metadata", "--format-version=1", "--filter-platform", target]);
        let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
        if !output.status.success() {
            bail!("`cargo metadata` failed ({})", output.status);
        }
        serde_json::from_slice(&output.stdout).context("cannot read what `cargo metadata` said")
    }

    /// A package by its id.
    pub fn get(&self, id: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.id == id)
    }

    /// The only package of this name.
    pub fn named(&self, name: &str) -> Result<&Package> {
        let mut all = self.packages.iter().filter(|package| package.name == name);
        match (all.next(), all.next()) {
            (Some(package), None) => Ok(package),
            (None, _) => bail!("there is no package {name}"),
            (Some(_), Some(_)) => bail!("there are several packages {name}"),
        }
    }

    /// The package that a line of `cargo tree` is about: `name v1.2.3`, and perhaps more.
    pub fn find(&self, line: &str) -> Result<&Package> {
        let mut words = line.split_whitespace();
        let is_it = |package: &&Package| {
            let mut words = words.clone();
            words.next() == Some(&package.name)
                && words.next().and_then(|it| it.strip_prefix('v')) == Some(&package.version)
        };
        let found = self.packages.iter().find(is_it);
        found.with_context(|| format!("`cargo metadata` knows no {:?}", words.next()))
    }

    /// The ids of the packages that are linked with this one because it asks for them.
    pub fn linked_by(&self, id: &str) -> impl Iterator<Item = &String> {
        let node = self.resolve.nodes.iter().find(move |node| node.id == id);
        let edges = node.into_iter().flat_map(|node| &node.deps);
        edges.filter(|it| it.dep_kinds.iter().any(|of| of.kind.is_none())).map(|it| &it.pkg)
    }

    /// The ids of all the packages that end up in what this one is linked to, its own among them.
    pub fn linked_into<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        let mut seen = BTreeSet::from([id]);
        let mut left = vec![id];
        while let Some(id) = left.pop() {
            left.extend(self.linked_by(id).map(String::as_str).filter(|it| seen.insert(it)));
        }
        seen.into_iter()
    }
}
