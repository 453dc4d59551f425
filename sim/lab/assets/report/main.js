"use strict";
/*
 * Starts everything once the page is there. What is far down is made when the reader comes near, so
 * that a page of a thousand runs opens at once.
 */
(function () {
  document.documentElement.classList.add("js");
  report.sortTables();
  if (report.data.runs.length === 0) return;

  /** Calls `start` when a section comes near, or when something in the page jumps to it. */
  function whenNear(id, start) {
    const section = document.getElementById(id);
    const observer = new IntersectionObserver(function (entries) {
      if (entries.some((entry) => entry.isIntersecting)) {
        observer.disconnect();
        start();
      }
    }, { rootMargin: "600px" });
    observer.observe(section);
  }

  report.startRun();
  whenNear("space-time", report.startSpaceTime);
  if (report.data.runs.length > 1) whenNear("compare", report.startCompare);
})();
