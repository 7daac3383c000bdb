//! Pictures of figures: cost over a number of something, one file for each thing that is counted and each unit.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use crate::error::{Error, doing};
use crate::report::{Report, Row};

const SIZE: (u32, u32) = (720, 360);
/// Told apart by people who do not tell red from green, and on white and on dark pages (the palette of Okabe and Ito).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// Points of each line, by its name.
type Lines = BTreeMap<String, Vec<(f64, f64)>>;

/// Draws what has a place in a plot, and gives the files.
pub fn draw(report: &Report, dir: &Path) -> Result<Vec<PathBuf>, Error> {
    fs::create_dir_all(dir).map_err(doing(format!("make {}", dir.display())))?;
    let mut files = Vec::new();
    for ((over, unit), lines) in plots(report.rows()) {
        let what = if unit.starts_with('%') { "cpu" } else { "wait" };
        let file = dir.join(format!("{over}-{what}.svg"));
        let drawing = Drawing { over: &over, unit: &unit, machine: report.machine(), lines: &lines };
        let drawn = drawing.draw(&file);
        drawn.map_err(|why| {
            doing(format!("draw {}", file.display()))(std::io::Error::other(why.to_string()))
        })?;
        files.push(file);
    }
    Ok(files)
}

/// By what is counted and the unit; the newest figure of a point is the one that counts.
fn plots(rows: &[Row]) -> BTreeMap<(String, String), Lines> {
    let mut plots = BTreeMap::<_, Lines>::new();
    for row in rows {
        let Some(point) = &row.point else { continue };
        let lines = plots.entry((point.over.clone(), row.unit.clone())).or_default();
        let line = lines.entry(point.line.clone()).or_default();
        let at = point.count as f64;
        line.retain(|(count, _)| *count != at);
        line.push((at, row.ours));
        line.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    plots
}

struct Drawing<'a> {
    over: &'a str,
    unit: &'a str,
    machine: &'a str,
    lines: &'a Lines,
}

impl Drawing<'_> {
    fn draw(&self, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::new(file, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let caption = format!("{} over {} ({})", self.unit, self.over, self.machine);
        let mut chart = ChartBuilder::on(&area)
            .caption(caption, ("sans-serif", 13))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(self.range(|point| point.0), self.range(|point| point.1))?;
        chart.configure_mesh().x_desc(self.over).y_desc(self.unit).light_line_style(WHITE).draw()?;
        for ((name, points), colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let colour = *colour;
            chart
                .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)).point_size(3))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .draw()?;
        area.present()?;
        Ok(())
    }

    /// From nothing to a little more than the greatest.
    fn range(&self, of: impl Fn(&(f64, f64)) -> f64) -> Range<f64> {
        0.0..self.lines.values().flatten().map(of).fold(0.0, f64::max) * 1.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn each_thing_that_is_counted_has_its_picture() {
        let scratch = Scratch::new("plot").unwrap();
        let row = |over, count, unit, ours| Row::new("scale", "", unit, ours).point(over, "a line", count);
        let rows = vec![
            row("streams", 1, "% of a core", 0.4),
            row("streams", 10, "% of a core", 9.0),
            row("streams", 10, "% of a core", 3.0),
            row("viewers", 100, "ms", 12.0),
            Row::new("lag", "no place in a plot", "ms", 1.0),
        ];
        let lines = &plots(&rows)[&("streams".to_owned(), "% of a core".to_owned())];
        assert_eq!(lines["a line"], [(1.0, 0.4), (10.0, 3.0)]);
        let files = draw(&Report::new(rows), scratch.path()).unwrap();
        let names: Vec<_> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
        assert_eq!(names, ["streams-cpu.svg", "viewers-wait.svg"]);
        let svg = fs::read_to_string(&files[0]).unwrap();
        assert!(svg.contains("<svg") && svg.contains("a line") && svg.contains("% of a core"), "{svg}");
    }
}
