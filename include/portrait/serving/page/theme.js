// Before anything is drawn: the colours chosen last, else those of the system.
document.documentElement.dataset.theme = localStorage.getItem("portrait.theme")
  || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
