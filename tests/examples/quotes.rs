//! The Rust that a page quotes stands in the program of the page.

/// Checks that each line of the page's Rust is a line of the program, except for lines with `...`.
pub(crate) fn check(page: &str, program: &str) {
    let program: Vec<_> = program.lines().map(str::trim).collect();
    let mut count = 0;
    for block in page.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("rust,ignore\n"))
    {
        for line in block.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains("...")) {
            assert!(program.contains(&line), "not in the program: {line}");
            count += 1;
        }
    }
    assert!(count > 0, "the page quotes no Rust");
}
