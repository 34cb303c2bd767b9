//! Links between the documents lead somewhere: to a file that is there, and to a heading in it. The
//! manual's table of contents has every page.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::shipped::repository;

/// Markdown files at the top of the repository and in the manual.
fn documents() -> Vec<PathBuf> {
    let folders = [repository(), repository().join("docs")];
    let entries = folders.into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// Lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// Where the links of a text lead.
fn targets(text: &str) -> Vec<&str> {
    let links = prose(text).flat_map(|line| line.split("](").skip(1));
    links.filter_map(|rest| rest.split_once(')').map(|(target, _)| target)).collect()
}

/// The name by which a heading is linked to, as on GitHub and in mdBook.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

/// What is wrong with a link from this document, if anything is.
fn complaint(document: &Path, target: &str) -> Option<String> {
    if target.starts_with("http://") || target.starts_with("https://") {
        return None;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => document.to_owned(),
        _ => document.parent().unwrap().join(file),
    };
    if !path.exists() {
        return Some(format!("{}: no file {target}", document.display()));
    }
    if !heading.is_empty() && !anchors(&fs::read_to_string(path).unwrap()).contains(heading) {
        return Some(format!("{}: no heading {target}", document.display()));
    }
    None
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut seen = 0;
    let mut complaints = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let links = targets(&text);
        seen += links.len();
        complaints.extend(links.into_iter().filter_map(|target| complaint(&document, target)));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(seen >= 50, "only {seen} links were found");
}

#[test]
fn broken_links_are_found() {
    let readme = repository().join("README.md");
    for (target, is_broken) in [
        ("https://example.org", false),
        ("docs/install.md", false),
        ("docs/install.md#aws-network-load-balancer", false),
        ("#how-it-works", false),
        ("docs/install.md#somewhere-else", true),
        ("docs/no-such-page.md", true),
        ("#somewhere-else", true),
    ] {
        assert_eq!(complaint(&readme, target).is_some(), is_broken, "{target}");
    }
}

#[test]
fn the_table_of_contents_has_every_page() {
    let docs = repository().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<_> = targets(&summary).into_iter().map(|page| docs.join(page)).collect();
    let mut pages = documents();
    pages.retain(|path| path.parent() == Some(&docs) && !path.ends_with("SUMMARY.md"));
    assert_eq!(pages.into_iter().collect::<BTreeSet<_>>(), listed);
}
