//! Figures of results, as they go into a page.
//!
//! A figure that the lab has drawn becomes inline SVG: its text can be searched and its colours
//! follow the page into the dark. Anything else that is called `.svg` could hold scripts or fetch
//! things, so it is shown as an image with its content in the address (`data:`), for which a browser
//! runs no script and loads nothing.

use super::ReportError;
use super::run::text;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Elements that the lab's figures are made of.
const ELEMENTS: [&str; 11] = [
    "svg", "title", "g", "circle", "ellipse", "line", "path", "polygon", "polyline", "rect", "text",
];

/// Attributes of theirs, which fetch nothing and run nothing.
const ATTRIBUTES: [&str; 31] = [
    "class",
    "cx",
    "cy",
    "d",
    "dy",
    "fill",
    "font-family",
    "font-size",
    "font-weight",
    "height",
    "opacity",
    "points",
    "r",
    "role",
    "rx",
    "ry",
    "stroke",
    "stroke-dasharray",
    "stroke-linecap",
    "stroke-linejoin",
    "stroke-width",
    "text-anchor",
    "transform",
    "viewBox",
    "width",
    "x",
    "x1",
    "x2",
    "y",
    "y1",
    "y2",
];

/// Wider figures, in pixels, cannot be read when they are made as small as a phone.
const WIDE_FROM: u32 = 640;

/// A figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// The name of its file without the ending.
    pub name: String,
    pub form: Form,
}

/// How a figure goes into a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// SVG without anything but drawing.
    Inline(String),
    /// The address of an image.
    Image(String),
}

impl Picture {
    /// The figures in a folder, by name; none if there is no such folder.
    pub(super) fn all_in(folder: &Path) -> Result<Vec<Picture>, ReportError> {
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(folder).map_err(|error| ReportError::damaged(folder, error))?;
        let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
        let mut paths: Vec<_> =
            paths.filter(|path| path.extension().is_some_and(|end| end == "svg")).collect();
        paths.sort();
        let picture = |path: std::path::PathBuf| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Ok(Picture { name, form: Form::of(&text(&path)?) })
        };
        paths.into_iter().map(picture).collect()
    }
}

impl Picture {
    /// Whether its text would be too small on a phone if all of it was shown at once.
    pub(super) fn is_wide(&self) -> bool {
        let Form::Inline(svg) = &self.form else { return false };
        let width = svg.split_once(" width=\"").and_then(|(_, rest)| rest.split_once('"'));
        width
            .and_then(|(width, _)| width.parse::<u32>().ok())
            .is_some_and(|width| width > WIDE_FROM)
    }
}

impl Form {
    fn of(text: &str) -> Form {
        match inline(text.trim_start()) {
            Some(svg) => Form::Inline(svg),
            None => Form::Image(address(text)),
        }
    }
}

/// The text if it is nothing but drawing, without the name space that HTML does not need; `None` if
/// it is anything else, or cannot be followed.
fn inline(text: &str) -> Option<String> {
    if !text.starts_with("<svg ") || !text.trim_end().ends_with("</svg>") {
        return None;
    }
    let mut output = String::with_capacity(text.len());
    let mut depth = 0_usize;
    let mut rest = text.trim_end();
    while let Some(open) = rest.find('<') {
        let (before, tag) = rest.split_at(open);
        let (tag, after) = tag[1..].split_once('>')?;
        output.push_str(before);
        match tag.strip_prefix('/') {
            Some(name) => {
                ELEMENTS.contains(&name.trim_end()).then_some(())?;
                depth = depth.checked_sub(1)?;
                write!(output, "</{name}>").ok()?;
            }
            None => {
                let closed = tag.ends_with('/');
                write!(
                    output,
                    "<{}{}>",
                    allowed(tag.trim_end_matches('/'))?,
                    if closed { "/" } else { "" }
                )
                .ok()?;
                depth += usize::from(!closed);
            }
        }
        rest = after;
        if depth == 0 {
            return rest.is_empty().then_some(output);
        }
    }
    None
}

/// An opening tag without what is not needed; `None` if it has anything that is not allowed.
fn allowed(tag: &str) -> Option<String> {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    ELEMENTS.contains(&name).then_some(())?;
    let mut output = name.to_owned();
    while !rest.trim_start().is_empty() {
        let (key, after) = rest.trim_start().split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        rest = after;
        if key == "xmlns" {
            continue;
        }
        // Nothing that is drawn has an address.
        let fetches = value.to_ascii_lowercase().contains("url(") || value.contains('<');
        (ATTRIBUTES.contains(&key) && !fetches).then_some(())?;
        write!(output, " {key}=\"{value}\"").ok()?;
    }
    Some(output)
}

/// The address of an image with this content.
fn address(svg: &str) -> String {
    let mut address = String::from("data:image/svg+xml;charset=utf-8,");
    for byte in svg.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b' ' => address.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => address.push(char::from(byte)),
            _ => write!(address, "%{byte:02X}").expect("invariant: a string takes everything"),
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_lab_are_inline() {
        let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"5\" viewBox=\"0 0 1 1\"><title>a &lt; b</title>\n\
                   <circle cx=\"1\" cy=\"2\" r=\"3\" fill=\"#0072B2\"/>\n</svg>\n";
        let expected = "<svg width=\"5\" viewBox=\"0 0 1 1\"><title>a &lt; b</title>\n\
                        <circle cx=\"1\" cy=\"2\" r=\"3\" fill=\"#0072B2\"/>\n</svg>";
        assert_eq!(Form::of(svg), Form::Inline(expected.to_owned()));
    }

    #[test]
    fn what_could_run_or_fetch_is_an_image() {
        for inner in [
            "<script>alert(1)</script>",
            "<circle onload=\"alert(1)\"/>",
            "<rect fill=\"url(http://a.b/c)\"/>",
            "<image href=\"http://a.b/c\"/>",
            "<style>@import 'x'</style>",
            "<g></g></svg><script>alert(1)</script><svg>",
            "<!-- > --><script>alert(1)</script>",
            "<text x='1'>a</text>",
            "<foreignObject/>",
            "<g",
        ] {
            let svg = format!("<svg width=\"1\">{inner}</svg>");
            let Form::Image(address) = Form::of(&svg) else { panic!("{svg} is inline") };
            assert!(!address.contains(['<', '>', '"', '\'', '#']), "{address}");
        }
    }
}
