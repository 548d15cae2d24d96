// The one thing a form cannot do: ask the browser for a passkey. A form with `data-passkey` holds
// the options of the call in `data-options` (JSON of WebAuthn Level 3 §5.1), and a hidden field
// `answer` that takes what the authenticator said.
"use strict";
for (const form of document.querySelectorAll("form[data-passkey]")) {
  const told = form.querySelector("[role=alert]");
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    if (form.elements.answer.value) return;
    event.preventDefault();
    told.textContent = "";
    try {
      const options = JSON.parse(form.dataset.options);
      const credential = form.dataset.passkey === "create"
        ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
        : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
      form.elements.answer.value = JSON.stringify(credential.toJSON());
      form.submit();
    } catch (fault) {
      told.textContent = fault.name === "NotAllowedError"
        ? "No passkey was used: it was cancelled, or took too long. Try again."
        : "This browser could not use a passkey here: " + fault.message;
    }
  });
}
