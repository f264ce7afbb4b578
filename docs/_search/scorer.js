// Sphinx's scores, and more for what is named exactly as the query: the page first, then the function or class.
var Scorer = {
  score: ([docname, title, anchor, descr, score, filename, kind]) => {
    const query = new URLSearchParams(window.location.search).get("q").trim().toLowerCase();
    const isNamed = title.split(".").pop().split(" (")[0].toLowerCase() === query;
    const isModule = (descr || "").includes("module");
    return score + (isNamed && !isModule ? (docname.startsWith("api/") ? 100 : 200) : 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
