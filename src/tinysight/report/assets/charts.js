// Charts are drawn when they come near the window, or onto paper.
"use strict";
(() => {
  const { read, whenSeen } = window.tinysight;
  const options = {
    actions: false,
    ast: true, // interpret expressions: the page's policy forbids making code of text
    defaultStyle: false,
    renderer: "svg",
    tooltip: { disableDefaultStyle: true },
  };
  const draw = async (place) => {
    if (place.dataset.state) return;
    place.dataset.state = "drawing";
    try {
      await vegaEmbed(place, read(place.dataset.spec), options);
      place.dataset.state = "drawn";
    } catch (error) {
      place.dataset.state = "failed";
      place.textContent = `This chart could not be drawn: ${error.message}`;
      console.error(error);
    }
  };
  whenSeen(document.querySelectorAll(".chart"), draw);
})();
