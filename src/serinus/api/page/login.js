// Exchanges a token, or the code of the link's fragment (which no browser sends, so no log holds it), for a session.

const said = document.getElementById("said");

async function signIn(shown) {
  said.textContent = "";
  try {
    const answer = await fetch("/v1/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(shown),
    });
    if (answer.ok) {
      location.replace("/");
      return;
    }
    const { error, hint } = await answer.json();
    said.textContent = `Not signed in: ${error}. ${hint}`;
  } catch {
    said.textContent = "Serinus does not answer.";
  }
}

document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn({ token: document.getElementById("token").value.trim() });
});

function fromLink() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (!code) return;
  history.replaceState(null, "", "/login"); // out of the address bar and of the history
  signIn({ code });
}

window.addEventListener("hashchange", fromLink);
fromLink();
