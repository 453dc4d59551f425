//! Style and scripts of a page, as they lie in `assets/report`.
//!
//! Scripts are plain functions that share one object, `report`; each file says at its top what it
//! is about. They are put together in the order of this list, with the plotting library uPlot in
//! front (`assets/report/uplot`, with its licence).

/// The style sheet of uPlot, then that of the page.
pub(super) const STYLES: [&str; 2] = [
    include_str!("../../assets/report/uplot/uPlot.min.css"),
    include_str!("../../assets/report/page.css"),
];

/// All scripts.
pub(super) const SCRIPTS: [&str; 9] = [
    include_str!("../../assets/report/uplot/uPlot.iife.min.js"),
    include_str!("../../assets/report/base.js"),
    include_str!("../../assets/report/tables.js"),
    include_str!("../../assets/report/plots.js"),
    include_str!("../../assets/report/pieces.js"),
    include_str!("../../assets/report/run.js"),
    include_str!("../../assets/report/compare.js"),
    include_str!("../../assets/report/spacetime.js"),
    include_str!("../../assets/report/main.js"),
];

/// The licence of uPlot, which goes wherever uPlot goes.
pub(super) const UPLOT_LICENSE: &str = include_str!("../../assets/report/uplot/LICENSE");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_style_or_scripts_ends_its_element_or_fetches_anything() {
        for text in STYLES.iter().chain(&SCRIPTS) {
            let lower = text.to_lowercase();
            for forbidden in [
                "</script",
                "</style",
                "<!--",
                "@import",
                "url(",
                "fetch(",
                "xmlhttprequest",
                "import(",
            ] {
                assert!(!lower.contains(forbidden), "{forbidden}");
            }
        }
    }
}
