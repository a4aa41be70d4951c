"use strict";
const { plots } = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const made = (tag, text) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  return element;
};
const shown = (value) => value === null || value === undefined ? "–"
  : typeof value === "number" ? String(Number(value.toPrecision(4))) : value;

// Plotly reads tags such as <b> and <a> in names and labels.
const plain = (text) => String(text).replace(/[<>&]/g, (sign) => ({ "<": "&lt;", ">": "&gt;", "&": "&amp;" })[sign]);

function traces(plot, choice) {
  return choice.series.map((series, i) => {
    const trace = { name: plain(series.name), x: series.x, y: series.y, customdata: series.n,
      hovertemplate: `%{y:.4g}${series.n ? "<br>n = %{customdata:,}" : ""}` };
    const own = color(`s${i % 8}`);
    if (plot.kind === "stacked") return { ...trace, type: "bar", marker: { color: own } };
    if (series.low) {
      trace.error_y = { type: "data", symmetric: false, color: own, thickness: 1.2, width: 4,
        array: series.high.map((high, k) => high - series.y[k]),
        arrayminus: series.low.map((low, k) => series.y[k] - low) };
    }
    return { ...trace, type: "scatter", mode: "lines+markers", line: { color: own, dash: i < 8 ? "solid" : "dash" },
      marker: { color: own, size: 7, symbol: ["circle", "square", "diamond", "triangle-up", "x"][i % 5] } };
  });
}

function layout(plot, choice) {
  const axis = { color: color("ink"), gridcolor: color("line"), zerolinecolor: color("soft"), automargin: true };
  const ticks = [...new Set(choice.series.flatMap((series) => series.x))].sort((a, b) => a - b);
  const few = ticks.length <= 16 ? { tickmode: "array", tickvals: ticks } : {};
  return {
    barmode: plot.kind === "stacked" ? "stack" : undefined,
    paper_bgcolor: color("page"), plot_bgcolor: color("page"), font: { color: color("ink"), size: 13 },
    margin: { l: 50, r: 10, t: 30, b: 40 }, hovermode: "x unified", showlegend: true,
    hoverlabel: { bgcolor: color("tint"), font: { color: color("ink") } },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", font: { size: 12 } },
    xaxis: { ...axis, ...few, zeroline: false, title: { text: plot.x }, type: plot.logarithmic ? "log" : "linear" },
    yaxis: { ...axis, title: { text: plain(choice.y) }, rangemode: "tozero" },
  };
}

function table(plot, choice) {
  const names = ["", plot.x, choice.y, "95 % interval", "n"];
  const body = made("tbody");
  for (const series of choice.series) {
    series.x.forEach((x, k) => {
      const row = made("tr");
      const head = made("th", series.name);
      head.scope = "row";
      const interval = series.low ? `${shown(series.low[k])} to ${shown(series.high[k])}` : "–";
      row.append(head, ...[x, shown(series.y[k]), interval, series.n ? series.n[k].toLocaleString("en") : "–"]
        .map((value) => made("td", value)));
      body.append(row);
    });
  }
  const header = made("tr");
  header.append(...names.map((name) => Object.assign(made("th", name), { scope: "col" })));
  const head = made("thead");
  head.append(header);
  const whole = made("table");
  whole.append(Object.assign(made("caption"), { textContent: choice.label }), head, body);
  const scroll = Object.assign(made("div"), { className: "scroll", tabIndex: 0 });
  scroll.append(whole);
  return scroll;
}

function draw(plot) {
  const figure = document.getElementById(`plot-${plot.id}`);
  const choice = plot.choices[Number(figure.querySelector("select")?.value || 0)];
  Plotly.react(figure.querySelector(".canvas"), traces(plot, choice), layout(plot, choice),
    { responsive: true, displaylogo: false, displayModeBar: "hover",
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]] });
  figure.querySelector(".point-table").replaceChildren(table(plot, choice));
}

for (const plot of plots) {
  document.querySelector(`#plot-${plot.id} select`)?.addEventListener("change", () => draw(plot));
  draw(plot);
}
dark.addEventListener("change", () => plots.forEach(draw));

const find = document.getElementById("find-setting");
find.addEventListener("input", () => {
  const rows = [...document.querySelectorAll("#settings tbody tr")];
  for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(find.value.toLowerCase());
  const left = rows.filter((row) => !row.hidden).length;
  document.getElementById("settings-found").textContent = find.value ? `${left} of ${rows.length}` : "";
});
