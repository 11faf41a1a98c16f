// The pages of the documentation: only the theme needs a script.
import { toggleTheme } from "./theme.js";

document.addEventListener("click", (event) => {
  if (event.target.closest("header button")) toggleTheme();
});
