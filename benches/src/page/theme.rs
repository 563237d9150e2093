//! Colours that are distinguishable with colour blindness: simulated for the three kinds of
//! dichromacy, any two of one theme remain distinct, and each has a contrast of 3 or more with the
//! surface. Shapes distinguish contenders as well.

/// The differences between the themes.
pub(super) struct Theme {
    pub(super) name: &'static str,
    pub(super) surface: &'static str,
    pub(super) ink: &'static str,
    pub(super) muted: &'static str,
    grid: &'static str,
    axis: &'static str,
    pub(super) reference: &'static str,
    pub(super) lessor: &'static str,
    pub(super) rivals: [&'static str; RIVALS],
}

pub(super) const RIVALS: usize = 5;

pub(super) const THEMES: [Theme; 2] = [
    Theme {
        name: "light",
        surface: "#ffffff",
        ink: "#1f2328",
        muted: "#59636e",
        grid: "#e3e7eb",
        axis: "#8c959f",
        reference: "#6e7781",
        lessor: "#0969da",
        rivals: ["#d9480f", "#00785a", "#6a1fb0", "#5b4300", "#17203a"],
    },
    Theme {
        name: "dark",
        surface: "#0d1117",
        ink: "#f0f6fc",
        muted: "#9198a1",
        grid: "#262c34",
        axis: "#656c76",
        reference: "#8b949e",
        lessor: "#4493f8",
        rivals: ["#f07b3f", "#3fc79a", "#d2b0ff", "#f5d76e", "#f0f6fc"],
    },
];

impl Theme {
    /// Returns the rules for the classes that drawings use.
    pub(super) fn style(&self) -> String {
        let Self { surface, ink, muted, grid, axis, reference, lessor, rivals, .. } = self;
        let mut style = format!(
            "text{{font:11.5px -apple-system,BlinkMacSystemFont,\"Segoe UI\",\"Noto Sans\",Helvetica,Arial,sans-serif;fill:{ink};font-variant-numeric:tabular-nums}}\n\
             .heading{{font-size:16px;font-weight:600}}\n\
             .title{{font-size:13px;font-weight:600}}\n\
             .strong{{font-weight:600}}\n\
             .muted{{fill:{muted}}}\n\
             .surface{{fill:{surface}}}\n\
             .grid{{stroke:{grid}}}\n\
             .axis{{stroke:{axis}}}\n\
             .band{{fill:{grid};fill-opacity:.45}}\n\
             .line{{fill:none;stroke:currentColor;stroke-width:1.75;stroke-linejoin:round}}\n\
             .line.lessor{{stroke-width:3}}\n\
             .line.reference{{stroke-dasharray:5 4}}\n\
             .bar{{stroke:currentColor;stroke-width:2.5}}\n\
             .lead{{fill:none;stroke:currentColor;stroke-opacity:.6}}\n\
             .spread{{stroke:currentColor;stroke-width:2;stroke-opacity:.5}}\n\
             .mark{{fill:currentColor;stroke:{surface}}}\n\
             .hollow{{fill:{surface};stroke:currentColor;stroke-width:1.5}}\n\
             .reference{{color:{reference}}}\n\
             .lessor{{color:{lessor}}}\n"
        );
        // The colour that remains distinct from lessor's with any colour blindness.
        style.push_str(&format!(".worse{{color:{}}}\n", rivals[0]));
        for (at, colour) in rivals.iter().enumerate() {
            style.push_str(&format!(".rival{at}{{color:{colour}}}\n"));
        }
        style
    }
}
