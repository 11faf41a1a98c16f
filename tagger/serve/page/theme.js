// Light or dark: as the browser prefers, until the user chooses; the choice is stored in the browser.

export function loadSetting(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // storage is disabled
  }
}

/** Store a setting; return false where the browser does not: it holds until the page is closed. */
export function storeSetting(name, value) {
  try {
    localStorage.setItem(name, value);
    return true;
  } catch {
    return false;
  }
}

const darkPreferred = matchMedia("(prefers-color-scheme: dark)");

export function applyTheme() {
  const chosen = loadSetting("theme");
  const dark = chosen ? chosen === "dark" : darkPreferred.matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

export function toggleTheme() {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  storeSetting("theme", theme);
}

darkPreferred.addEventListener("change", applyTheme);
applyTheme();
