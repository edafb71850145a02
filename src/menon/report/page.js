// Under the pointer: a line at the nearest place, and its values in the legend.
for (const figure of document.querySelectorAll(".chart")) {
  const lines = JSON.parse(figure.dataset.points);
  const svg = figure.querySelector("svg");
  const cursor = figure.querySelector(".cursor");
  const values = figure.querySelectorAll(".key b");
  const at = figure.querySelector(".at");
  const nearest = (points, x) => points.reduce((best, p) => (Math.abs(p[0] - x) < Math.abs(best[0] - x) ? p : best));
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) * svg.viewBox.baseVal.width) / box.width;
    const here = nearest(lines.map((points) => nearest(points, x)), x);
    cursor.setAttribute("x1", here[0]);
    cursor.setAttribute("x2", here[0]);
    cursor.style.visibility = "visible";
    at.textContent = `${figure.dataset.across} ${Math.round(here[1] * 10) / 10}`;
    lines.forEach((points, i) => {
      const point = nearest(points, here[0]);
      values[i].textContent = Math.abs(point[0] - here[0]) < 0.5 ? point[2] : "";
    });
  });
  svg.addEventListener("pointerleave", () => {
    cursor.style.visibility = "hidden";
    at.textContent = "";
    values.forEach((value) => (value.textContent = ""));
  });
}
