use halo_loss::{modifiers, registry};

use super::{guide, plots};

#[test]
fn both_documents_have_every_loss_parameter_and_modifier() -> Result<(), String> {
    let page = guide::guide()?;
    for spec in registry() {
        assert!(guide::table().contains(&format!("`{}`", spec.name)));
        assert!(page.contains(&format!("\n### {}\n", spec.name)));
        for param in spec.params {
            assert!(guide::section(spec)?.contains(&format!("| `{}` |", param.name)));
        }
    }
    for modifier in modifiers::registry() {
        assert!(page.contains(&format!("\n### Modifier {}\n", modifier.name)));
    }
    Ok(())
}

#[test]
fn a_table_row_has_no_stray_columns() -> Result<(), String> {
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    for text in [guide::table(), guide::guide()?] {
        let mut columns = None;
        for line in text.lines() {
            match line.starts_with('|') {
                true => assert_eq!(bars(line), *columns.get_or_insert(bars(line)), "{line}"),
                false => columns = None,
            }
        }
    }
    Ok(())
}

#[test]
fn every_link_within_the_page_has_its_heading() -> Result<(), String> {
    let page = guide::guide()?;
    let anchor = |heading: &str| {
        heading
            .trim_start_matches('#')
            .trim()
            .to_lowercase()
            .replace(' ', "-")
    };
    let anchors: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(anchor)
        .collect();
    for link in page.split("](#").skip(1) {
        let target = link.split(')').next().unwrap_or_default();
        assert!(anchors.iter().any(|known| known == target), "#{target}");
    }
    Ok(())
}

#[test]
fn plots_are_small_and_finite() -> Result<(), String> {
    for spec in registry() {
        let (plot, _) = plots::plot(spec)?;
        assert!(plot.len() < 6 * 1024, "{}: {} bytes", spec.name, plot.len());
        assert!(
            !plot.contains("NaN") && !plot.contains("inf"),
            "{}",
            spec.name
        );
    }
    Ok(())
}
