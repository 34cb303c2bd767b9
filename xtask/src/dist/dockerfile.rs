//! The few words of a Dockerfile that an image with one file in it needs. Any other is an error:
//! what is not understood can't be checked.

use anyhow::{Context, Result, bail};

/// What a Dockerfile that begins `FROM scratch` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dockerfile {
    /// From the build context to the image.
    pub copies: Vec<(String, String)>,
    /// The program that a container runs, and its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments that are used if none are given.
    pub arguments: Vec<String>,
}

impl Dockerfile {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Self> {
        let mut dockerfile = Self::default();
        let mut from_scratch = false;
        for line in lines(text) {
            let (word, rest) = line.split_once(' ').with_context(|| format!("`{line}`"))?;
            let rest = rest.trim();
            match word {
                "FROM" if rest == "scratch" => from_scratch = true,
                "LABEL" => {}
                "COPY" => dockerfile.copies.push(copy(rest)?),
                "ENTRYPOINT" => dockerfile.entrypoint = words(rest)?,
                "CMD" => dockerfile.arguments = words(rest)?,
                _ => bail!("`{line}` is not expected here"),
            }
        }
        if !from_scratch {
            bail!("it does not begin with `FROM scratch`");
        }
        if dockerfile.entrypoint.is_empty() {
            bail!("it names no ENTRYPOINT");
        }
        Ok(dockerfile)
    }
}

/// Instructions, each on one line, without comments.
fn lines(text: &str) -> Vec<String> {
    let kept = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let joined = kept.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    joined.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn copy(rest: &str) -> Result<(String, String)> {
    match rest.split_whitespace().collect::<Vec<_>>()[..] {
        [from, to] if to.starts_with('/') && !from.starts_with('-') => {
            Ok((from.to_owned(), to.to_owned()))
        }
        _ => bail!("`COPY {rest}`: one file and one absolute path are expected"),
    }
}

/// A program and its arguments. The other form needs a shell, and there is none.
fn words(rest: &str) -> Result<Vec<String>> {
    serde_json::from_str(rest).with_context(|| format!("`{rest}` is no list of words"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_our_image_is_made_of() {
        let text = "# a comment\nFROM scratch\nLABEL a=\"b\" \\\n  c=\"d\"\nCOPY foreword /foreword\n\
                    ENTRYPOINT [\"/foreword\"]\nCMD [\"run\", \"-c\"]\n";
        let dockerfile = Dockerfile::parse(text).unwrap();
        assert_eq!(dockerfile.copies, [("foreword".to_owned(), "/foreword".to_owned())]);
        assert_eq!(dockerfile.entrypoint, ["/foreword"]);
        assert_eq!(dockerfile.arguments, ["run", "-c"]);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for text in [
            "FROM debian\nENTRYPOINT [\"/a\"]",
            "FROM scratch\n",
            "FROM scratch\nENTRYPOINT /foreword",
            "FROM scratch\nRUN true\nENTRYPOINT [\"/a\"]",
            "FROM scratch\nCOPY --from=build a /a\nENTRYPOINT [\"/a\"]",
        ] {
            Dockerfile::parse(text).unwrap_err();
        }
    }
}
